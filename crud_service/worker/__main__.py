"""The worker: `python -m crud_service.worker`."""

from crud_service.worker.parent import main

if __name__ == "__main__":
    main()
