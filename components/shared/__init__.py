"""The ground that every room stands on: records, machine, Kubernetes."""
