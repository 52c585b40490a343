"""The kernel data plane in a small virtual machine: Debian's own kernel in QEMU, without KVM. Run by `make test-vm`."""
