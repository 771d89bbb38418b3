"""Model versions with their lineage, approval and the champion, kept in MLflow."""
