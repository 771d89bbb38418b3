"""Names of what the manifests put into the namespace of the runs, and of what the code makes there.

`manifests/` spells the same names; tests hold both together.
"""

PART_OF = "review-sentiment"
"""Value of the label `app.kubernetes.io/part-of` on everything that is ours."""

PART_OF_LABEL = "app.kubernetes.io/part-of"
COMPONENT_LABEL = "app.kubernetes.io/component"
"""Which of ours it is: pipeline-step, trial, training, batch, predictor, mlflow, feature-store,
label-studio.
Network policies go by it."""

SERVICE_ACCOUNT = "review-sentiment-pipeline"
"""Service account of the steps: may do what they do and no more."""

PREDICTOR_SERVICE_ACCOUNT = "review-sentiment-predictor"
"""That of the model servers, for access to the model storage; may do nothing in the API."""

SERVING_PRIORITY = "review-sentiment-serving"
"""PriorityClass of the model servers; that of trainings and trials is below the default."""

CONFIG_MAP = "review-sentiment-config"
"""ConfigMap whose keys reach the steps as environment variables of the same name."""

CLUSTER_CONFIG_MAP = "review-sentiment-cluster"
"""Optional ConfigMap with the environment of every pod: proxy, certificates, mirror of the hub."""

CA_CONFIG_MAP, CA_PATH = "review-sentiment-ca", "/etc/review-sentiment-ca"
"""Optional ConfigMap with certificate authorities, and where every pod has it mounted."""

SIGNING_SECRET, SIGNING_PATH = "review-sentiment-signing", "/etc/review-sentiment-signing"
"""Optional Secret with the key that versions are signed with, and where register-model has it."""

FEATURE_STORE_SECRET = "review-sentiment-feature-store"  # noqa: S105 - a name, not a secret
"""Secret with the connection to the feature store's Postgres, by libpq's names."""

MLFLOW_LOGIN_SECRET = "review-sentiment-mlflow-login"  # noqa: S105 - a name, not a secret
"""Optional Secret with the user and password that the steps log in to MLflow with."""

DATA_SECRET = "review-sentiment-data"  # noqa: S105 - a name, not a secret
"""Optional Secret with the credentials of reviews in object storage and of the model hub."""

REVIEW_SECRET = "review-sentiment-label-studio"  # noqa: S105 - a name, not a secret
"""Optional Secret of Label Studio: its database, its first account, and for the steps address and
token."""

STATE_CLAIM = "review-sentiment-state"
"""PersistentVolumeClaim (ReadWriteMany) of feature files, checkpoints and what trials read."""

STATE_PATH = "/state"
"""Where the claim is mounted in every pod of ours."""

STATE_VARIABLE = "STATE_DIR"
"""Environment variable that names the mounted claim; set on a cluster only (`STATE_PATH`)."""

TRAINING_RUNTIME = "review-sentiment-training"
"""TrainingRuntime of multi-GPU and multi-node training: torchrun, restarted when preempted."""

RUN_AS_USER = 10001
"""The numeric user and group of our images."""

GPU = "nvidia.com/gpu"
"""What GPUs are called and what taints their nodes, unless `pod_settings` says otherwise."""

GPU_NODE_LABEL = ("nvidia.com/gpu.present", "true")
"""Label of GPU nodes, set by NVIDIA's feature discovery."""
