"""Label Studio's own settings, with who may sign in and do what (`review_access`) among them.

`DJANGO_SETTINGS_MODULE=review_settings` chooses them. Environment variables:

- `REVIEW_SIGN_IN_HEADER`: the header with which a platform says who asks, such as
  `kubeflow-userid`. Unset, such a header means nothing and people sign in by password. Set it only
  where nobody but the platform's gateway can reach `REVIEW_SIGN_IN_PORT`.
- `REVIEW_SIGN_IN_PORT`: the port on which the header counts.
"""

import os

_OURS = os.environ["DJANGO_SETTINGS_MODULE"]
_LABEL_STUDIOS = "label_studio.core.settings.label_studio"

# Label Studio reads Django's settings while its own are still being imported.
os.environ["DJANGO_SETTINGS_MODULE"] = _LABEL_STUDIOS
from label_studio.core.settings.label_studio import *  # noqa: E402, F403
from label_studio.core.settings.label_studio import MIDDLEWARE  # noqa: E402

os.environ["DJANGO_SETTINGS_MODULE"] = _OURS

# After those that find out who asks, before those that look at the session's age.
_PLACE = MIDDLEWARE.index("jwt_auth.middleware.JWTAuthenticationMiddleware") + 1
MIDDLEWARE[_PLACE:_PLACE] = [
    "review_access.PlatformSignIn",
    "review_access.ReviewersMayOnlyReview",
]

REVIEW_SIGN_IN_HEADER = os.environ.get("REVIEW_SIGN_IN_HEADER", "")
REVIEW_SIGN_IN_PORT = os.environ.get("REVIEW_SIGN_IN_PORT", "")
