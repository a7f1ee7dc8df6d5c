"""Begins rotations as crud_service does, and kills them: a program (`tests.killing`).

The arguments of one are an access token and an idempotency key.
"""

from contextlib import suppress

import django

from tests.killing import fork_and_kill


def rotate_once(access_token: str, key: str) -> None:
    from crud_service.api.rotation.rotating import rotate
    from web.problems import Problem

    with suppress(Problem):
        rotate(access_token, key)


if __name__ == "__main__":
    django.setup()
    import crud_service.api.rotation.rotating  # noqa: F401 - so that the children need not

    fork_and_kill(rotate_once)
