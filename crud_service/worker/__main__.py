"""The worker: `python -m crud_service.worker`."""

from web.process_signals import end_on_ctrl_c

end_on_ctrl_c()

from crud_service.worker.parent import main

if __name__ == "__main__":
    main()
