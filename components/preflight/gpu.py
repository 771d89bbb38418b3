"""Whether the training image computes on a GPU, tried in a pod of its own."""

from components.preflight.finding import CheckFailed


def check_gpu() -> str:
    """Multiply on the GPU."""
    import torch

    if torch.version.cuda is None:
        raise CheckFailed(f"torch {torch.__version__} of the image is built without CUDA")
    if not torch.cuda.is_available():
        raise CheckFailed(
            f"torch {torch.__version__} sees no GPU; the driver of the node is too old for CUDA "
            f"{torch.version.cuda}, or the device plugin does not hand it through"
        )
    square = torch.ones(64, 64, device="cuda", dtype=torch.bfloat16)
    if (square @ square).float().sum().item() != 64**3:
        raise CheckFailed("the GPU multiplies wrongly")
    count, name = torch.cuda.device_count(), torch.cuda.get_device_name(0)
    return f"{count} x {name}, CUDA {torch.version.cuda}"
