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
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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

/* ---- memory ---- */

static unsigned long requests; /* the context of io_setup(2) */

static void hold_memory(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = { .range.len = 4096, .mode = UFFDIO_REGISTER_MODE_MISSING };
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	area.range.start = (uintptr_t)at;
	CHECK_CALL(ioctl(71, UFFDIO_API, &api));
	CHECK_CALL(ioctl(71, UFFDIO_REGISTER, &area));
	if (syscall(SYS_io_setup, 4, &requests) < 0)
		case_skip("no io_setup: %m");
	case_child(NULL, NULL); /* it has the memory of that, and nothing else */
}

/* ---- processes and threads ---- */

static pid_t sharer, apart, dispatched;

static int wait_for_ever(void *arg)
{
	for (;;)
		pause();
	return arg != NULL;
}

static void *go_apart(void *arg)
{
	CHECK_CALL(unshare(CLONE_FILES));
	__atomic_store_n(&apart, gettid(), __ATOMIC_SEQ_CST);
	return wait_for_ever(arg) ? arg : NULL;
}

static void *dispatch(void *arg)
{
	pid_t tid = gettid();

	CHECK_CALL(prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH, Linux 5.11 */, 1, 0, 0, NULL));
	__atomic_store_n(&dispatched, tid, __ATOMIC_SEQ_CST);
	for (;;) /* it can make no calls any more */
		__builtin_ia32_pause();
	return arg;
}

static void hold_tasks(void)
{
	char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t t;

	CHECK(!pthread_create(&t, NULL, go_apart, NULL));
	CHECK(!pthread_create(&t, NULL, dispatch, NULL));
	CHECK(EVENTUALLY(apart && dispatched));
	sharer = CHECK_CALL(clone(wait_for_ever, stack + 65536, CLONE_VM | SIGCHLD, NULL));
}

static void setup(void)
{
	hold("io_uring", io_uring(), 70);
	hold("userfaultfd", syscall(SYS_userfaultfd, O_NONBLOCK | 1), 71);
	hold("landlock", landlock(), 72);
	hold("pidfd", syscall(SYS_pidfd_open, getppid(), 0), 73);
	hold_memory();
}

static void check(void)
{
	struct stat st;

	for (int fd = 70; fd < 74; fd++)
		CHECK_CALL(fstat(fd, &st));
	CHECK_CALL(syscall(SYS_io_destroy, requests));
}

static void setup_all(void)
{
	setup();
	hold_tasks();
}

static void check_all(void)
{
	check();
	CHECK_CALL(kill(sharer, 0));
	CHECK_CALL(tgkill(getpid(), apart, 0));
	CHECK_CALL(tgkill(getpid(), dispatched, 0));
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

static int bpf_program(void)
{
	static const struct bpf_insn nothing[] = { { .code = 0xb7 }, { .code = 0x95 } };
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
				.insns = (uintptr_t)nothing,
				.insn_cnt = 2,
				.license = (uintptr_t) "" };

	return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static void go_away(void)
{
	CHECK_CALL(unshare(CLONE_NEWUTS));
}

static void setup_root(void)
{
	static const char *const devices[] = { "/dev/loop-control", "/dev/fuse", "/dev/net/tun",
					       "/dev/kmsg" };

	hold("performance counters", perf(), 80);
	hold("BPF", bpf_map(), 81);
	hold("BPF programs", bpf_program(), 82);
	hold("fsopen", syscall(SYS_fsopen, "tmpfs", 0), 83);
	for (int i = 0; i < 4; i++)
		hold(devices[i], open(devices[i], O_RDWR), 84 + i);
	case_child(go_away, NULL);
}

static void check_root(void)
{
	uint64_t count;

	CHECK(read(80, &count, 8) == 8);
	for (int fd = 81; fd < 88; fd++)
		CHECK_CALL(fcntl(fd, F_GETFD));
}

static void setup_secret(void)
{
	hold("secret memory", syscall(SYS_memfd_secret, 0), 90);
}

static void setup_machine(void)
{
	int fd = open("/dev/kvm", O_RDWR);

	if (fd < 0)
		case_skip("no KVM: %m");
	hold("virtual machines", ioctl(fd, 0xae01 /* KVM_CREATE_VM */, 0), 91);
	hold("KVM", fd, 92);
}

#define FILES                                                                                     \
	"fd 70", "an io_uring", "fd 71", "a userfaultfd", "fd 72", "a Landlock ruleset", "fd 73", \
		"outside of the tree", "its page faults go to a userfaultfd",                     \
		"a ring of io_setup(2): it is that of another"

CASES({ "everything that cannot be captured is named by what it is", setup_all, check_all,
	CASE_RUNS,
	.refused = { FILES, "shares its memory", "has descriptors of its own",
		     "its system calls are dispatched to itself" },
	.not_inside = "the library answers for processes that are apart, or wholly one" },
      { "from inside, too", setup, check, .flags = CASE_INSIDE, .refused = { FILES } },
      { "what root has of it, too", setup_root, check_root, .flags = CASE_ROOT,
	.refused = { "fd 80", "a counter of perf_event_open(2)", "fd 81", "a BPF map", "fd 82",
		     "a BPF program", "fd 83", "a file system that is being set up", "fd 84",
		     "/dev/loop-control", "fd 85", "/dev/fuse", "fd 86", "/dev/net/tun", "fd 87",
		     "/dev/kmsg", "in another uts namespace" } },
      { "secret memory is named", setup_secret, NULL,
	.refused = { "fd 90", "secret memory (memfd_secret)" } },
      { "a virtual machine is named", setup_machine, NULL,
	.refused = { "fd 91", "a virtual machine of KVM", "fd 92", "/dev/kvm" } })
