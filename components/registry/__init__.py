"""Model versions with their lineage, approval and the champion, in MLflow."""
