"""The lab: software GPUs behind a real Linux kernel, in a virtual machine without hardware support.

    parts = lab.parts.ready()                                 # QEMU, kernel, guest tree: from Debian, into .cache/lab
    with lab.guest.boot(parts, gpus="mi350x*8") as guest:
        done = guest.run(["gpumend", "probe"])                # done.exit_code, done.stdout

Nothing here needs root, and nothing of the machine is changed (docs/lab.md)."""
