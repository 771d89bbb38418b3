"""Build our images with buildah, and run commands in them under a strict cluster's rules."""

import json
import os
import shlex
import subprocess
from contextlib import contextmanager
from pathlib import Path

from tests.images.reader import ROOT

BASE_VARIABLE = "IMAGES_BASE"
OPTIONS_VARIABLE = "IMAGE_OPTIONS"

# $1 is the root, $2 the folder for /mnt, the rest the command. What is mounted goes with the
# mount namespace.
_STRICT = """
set -e
root=$1 shared=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$shared" "$root/mnt"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec=10001:10001 --groups=10001 "$root" "$@"
"""


def buildah(*arguments):
    done = subprocess.run(["buildah", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.strip()


def build(image):
    name = f"localhost/review-sentiment-test/{image}"
    buildah(
        *("build", "--isolation", "chroot", "--format", "docker", "--layers", "--quiet"),
        *("--file", str(ROOT / "images" / image / "Dockerfile"), "--tag", name),
        *("--build-arg", f"BASE_IMAGE={os.environ[BASE_VARIABLE]}"),
        *("--build-arg", "REVISION=0123abcd"),
        *shlex.split(os.environ.get(OPTIONS_VARIABLE, "")),
        str(ROOT),
    )
    return name


class Container:
    def __init__(self, image, root, shared):
        self.root = root  # its file system
        self.shared = shared  # the test's folder, writable at /mnt for its commands
        inspected = json.loads(buildah("inspect", "--type", "image", image))
        self.config = inspected["Docker"]["config"]  # User, Env, Entrypoint, Labels, …

    def start(self, *command, environment=None):
        """Start a command, or the image's own, as user 10001 on a read-only root."""
        if not command:
            command = (*(self.config["Entrypoint"] or ()), *(self.config["Cmd"] or ()))
        variables = [*self.config["Env"], *(f"{k}={v}" for k, v in (environment or {}).items())]
        inside = ["/usr/bin/env", "-i", "-C", self.config["WorkingDir"], *variables, *command]
        strict = ["unshare", "--mount", "sh", "-c", _STRICT, "sh", str(self.root), str(self.shared)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen([*strict, *inside], text=True, **pipes)

    def run(self, *command, environment=None):
        process = self.start(*command, environment=environment)
        written, _ = process.communicate(timeout=600)
        assert process.returncode == 0, written[-4000:]
        return written


@contextmanager
def container(image, shared):
    name = build(image)
    working = buildah("from", name)
    try:
        yield Container(name, Path(buildah("mount", working)), shared)
    finally:
        buildah("umount", working)
        buildah("rm", working)
