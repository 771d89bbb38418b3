"""Label Studio's process: makes its tables and first account, then answers until it is ended.

`python review_server.py`, in Label Studio's own environment. Environment variables tell it,
so that no secret stands in the list of processes:

- `REVIEW_ADMINISTRATOR`, `REVIEW_PASSWORD`, `REVIEW_TOKEN`: the account of the pipeline. What they
  say holds from each start on, also where the account is an old one.
- `REVIEW_BIND`: addresses to listen on, separated by commas.
- `REVIEW_ENDS_WITH_PARENT`: end when the process that started this one does.
- Label Studio's own, `LABEL_STUDIO_BASE_DATA_DIR` and those of its database among them.
"""

import ctypes
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1

DEFAULTS = {
    "DJANGO_SETTINGS_MODULE": "review_settings",
    # It would tell its makers, and ask for a newer version of itself.
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "LABEL_STUDIO_CORS_ALLOW_ALL_ORIGINS": "false",
    "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "false",
    "DJANGO_DB": "sqlite",
}


def prepare() -> Any:
    """Label Studio as a WSGI application, its tables and first account made."""
    import label_studio

    os.environ.update({name: value for name, value in DEFAULTS.items() if name not in os.environ})
    # Label Studio imports its own parts by their bare names.
    sys.path.insert(0, str(Path(label_studio.__file__).parent))
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    from django.db import connections

    make_tables()
    make_administrator(
        os.environ.pop("REVIEW_ADMINISTRATOR"),
        os.environ.pop("REVIEW_PASSWORD"),
        os.environ.pop("REVIEW_TOKEN"),
    )
    connections.close_all()  # the workers are forks, and must not share one
    return application


def make_tables() -> None:
    """Make the tables, or bring them to this version.

    An SQLite file changes whole or not at all: some of the changes are no transaction, and one that
    was cut off in the middle would refuse every start from then on.
    """
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection, connections
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    place = settings.DATABASES["default"]
    whole, draft = place["NAME"], f"{place['NAME']}.new"
    if connection.vendor == "sqlite":
        connections.close_all()
        Path(f"{draft}-journal").unlink(missing_ok=True)  # of one that was cut off
        shutil.copyfile(whole, draft)
        place["NAME"] = draft
    call_command("migrate", "--no-color", verbosity=0)
    connections.close_all()
    if place["NAME"] == draft:
        Path(draft).replace(whole)
        place["NAME"] = whole


def make_administrator(email: str, password: str, token: str) -> None:
    """The first account, with this password and token from now on."""
    from django.contrib.auth import get_user_model
    from organizations.models import Organization
    from rest_framework.authtoken.models import Token

    users = get_user_model().objects
    user = users.filter(email=email).first() or users.create_user(email=email)
    user.is_staff = user.is_superuser = True
    if not user.check_password(password):  # a new hash would end the sessions
        user.set_password(password)
    user.save()
    organization = Organization.objects.first()
    if organization is None:
        organization = Organization.create_organization(created_by=user, title="Label Studio")
    organization.add_user(user)
    user.active_organization = organization
    user.save()
    if not Token.objects.filter(user=user, key=token).exists():
        Token.objects.filter(user=user).delete()
        Token.objects.create(user=user, key=token)
    if not organization.jwt.legacy_api_tokens_enabled:
        organization.jwt.legacy_api_tokens_enabled = True
        organization.jwt.save()


def main() -> None:
    """Prepare, then serve by gunicorn."""
    if os.environ.get("REVIEW_ENDS_WITH_PARENT") and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    from gunicorn.app.base import BaseApplication

    application = prepare()

    class Server(BaseApplication):
        def load_config(self) -> None:
            chosen = {
                "bind": os.environ["REVIEW_BIND"].split(","),
                "workers": int(os.environ.get("REVIEW_WORKERS", "1")),
                "worker_class": "gthread",
                "threads": 8,
                "timeout": 300,  # an import of thousands of tasks is one request
                "graceful_timeout": 20,
                "worker_tmp_dir": os.environ.get("TMPDIR"),
                "control_socket_disable": True,
            }
            for name, value in chosen.items():
                if name in self.cfg.settings:
                    self.cfg.set(name, value)

        def load(self) -> Any:
            return application

    Server().run()


if __name__ == "__main__":
    main()
