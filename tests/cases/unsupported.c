/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One program that holds one of everything that cannot be captured: each is named by what it is,
 * all in one go, and goes on working.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447 /* Linux 5.14 */
#endif

/* FD at NUMBER, which ckpt has to name; what cannot be had is a reason to skip. */
static void hold(const char *what, int fd, int number)
{
	if (fd < 0)
		case_skip("no %s: %m", what);
	CHECK(dup2(fd, number) == number);
	close(fd);
}

static int io_uring(void)
{
	struct io_uring_params params = { 0 };

	return syscall(SYS_io_uring_setup, 4, &params);
}

static int landlock(void)
{
	uint64_t handled = 1;

	return syscall(444 /* landlock_create_ruleset, Linux 5.13 */, &handled, sizeof(handled), 0);
}

static void setup(void)
{
	hold("io_uring", io_uring(), 70);
	hold("userfaultfd", syscall(SYS_userfaultfd, O_NONBLOCK | 1), 71);
	hold("landlock", landlock(), 72);
	hold("pidfd", syscall(SYS_pidfd_open, getppid(), 0), 73);
}

static void check(void)
{
	struct stat st;

	for (int fd = 70; fd < 74; fd++)
		CHECK_CALL(fstat(fd, &st));
}

static int perf(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
					.size = sizeof(attr),
					.config = PERF_COUNT_SW_TASK_CLOCK };

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static int bpf_map(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY,
				.key_size = 4,
				.value_size = 8,
				.max_entries = 1 };

	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static void setup_root(void)
{
	hold("performance counters", perf(), 80);
	hold("BPF", bpf_map(), 81);
	hold("fsopen", syscall(SYS_fsopen, "tmpfs", 0), 82);
	hold("/dev/loop-control", open("/dev/loop-control", O_RDWR), 83);
	hold("/dev/fuse", open("/dev/fuse", O_RDWR), 84);
}

static void check_root(void)
{
	uint64_t count;

	CHECK(read(80, &count, 8) == 8);
	for (int fd = 81; fd < 85; fd++)
		CHECK_CALL(fcntl(fd, F_GETFD));
}

static void setup_secret(void)
{
	hold("secret memory", syscall(SYS_memfd_secret, 0), 85);
}

static void setup_machine(void)
{
	int fd = open("/dev/kvm", O_RDWR);

	if (fd < 0)
		case_skip("no KVM: %m");
	hold("virtual machines", ioctl(fd, 0xae01 /* KVM_CREATE_VM */, 0), 86);
	hold("KVM", fd, 87);
}

CASES({ "everything that cannot be captured is named by what it is", setup, check,
	.refused = { "fd 70", "an io_uring", "fd 71", "a userfaultfd", "fd 72",
		     "a Landlock ruleset", "fd 73", "outside of the tree" } },
      { "what root has of it, too", setup_root, check_root, .flags = CASE_ROOT,
	.refused = { "fd 80", "a counter of perf_event_open(2)", "fd 81", "a BPF map", "fd 82",
		     "a file system that is being set up", "fd 83", "/dev/loop-control", "fd 84",
		     "/dev/fuse" } },
      { "secret memory is named", setup_secret, NULL,
	.refused = { "fd 85", "secret memory (memfd_secret)" } },
      { "a virtual machine is named", setup_machine, NULL,
	.refused = { "fd 86", "a virtual machine of KVM", "fd 87", "/dev/kvm" } })
