/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cannot be captured is refused by name, all of it at once, by `ckpt check -t` and by the
 * dump, which leaves no image; the program goes on and does not notice.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int tcp[3], ring, uffd, pidfd, fds[2];
static char buf[100];

/* Moves a descriptor to a number that can be found in what ckpt says. */
static int at(int fd, int number)
{
	CHECK(dup2(fd, number) == number);
	close(fd);
	return number;
}

static int userfaultfd(void)
{
	int fd = syscall(SYS_userfaultfd,
			 O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY, 5.11 */);

	if (fd < 0)
		case_skip("no userfaultfd: %m");
	return fd;
}

static void connect_tcp(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	tcp[0] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
	if (bind(tcp[0], (struct sockaddr *)&a, len) < 0)
		case_skip("no loopback network: %m");
	CHECK_CALL(listen(tcp[0], 1));
	CHECK_CALL(getsockname(tcp[0], (struct sockaddr *)&a, &len));
	tcp[1] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
	if (connect(tcp[1], (struct sockaddr *)&a, len) < 0)
		case_skip("no loopback network: %m");
	tcp[2] = CHECK_CALL(accept(tcp[0], NULL, NULL));
	tcp[1] = at(tcp[1], 41);
	tcp[2] = at(tcp[2], 42);
}

static void setup(void)
{
	struct io_uring_params params = { 0 };

	connect_tcp();
	ring = syscall(SYS_io_uring_setup, 4, &params);
	if (ring < 0)
		case_skip("no io_uring: %m");
	ring = at(ring, 43);
	uffd = at(userfaultfd(), 44);
	pidfd = CHECK_CALL(syscall(SYS_pidfd_open, getppid(), 0));
	pidfd = at(pidfd, 45);
}

static void check(void)
{
	struct stat st;

	CHECK(write(tcp[1], "over tcp", 8) == 8);
	CHECK(read(tcp[2], buf, 100) == 8);
	CHECK(write(42, "back", 4) == 4 && read(41, buf, 100) == 4);
	CHECK(read(uffd, buf, 100) < 0);
	CHECK_CALL(fcntl(pidfd, F_GETFD));
	CHECK_CALL(fstat(ring, &st));
}

/* Of a child, one is named, too. */
static void setup_child(void)
{
	at(userfaultfd(), 47);
}

static void setup_in_child(void)
{
	case_child(setup_child, NULL);
}

static void setup_lock(void)
{
	int fd = CHECK_CALL(open("locked", O_CREAT | O_RDWR, 0644));

	fd = at(fd, 48);
	CHECK_CALL(flock(fd, LOCK_EX));
}

static void check_lock(void)
{
	int fd = CHECK_CALL(open("locked", O_RDWR));

	CHECK(flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
}

static char *secret;

static void setup_area(void)
{
	int fd = syscall(447, 0); /* memfd_secret, Linux 5.14 */

	if (fd < 0)
		case_skip("no secret memory: %m");
	CHECK_CALL(ftruncate(fd, 4096));
	secret = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (secret == MAP_FAILED)
		case_skip("no secret memory: %m");
	strcpy(secret, "quiet");
	close(fd);
}

static void check_area(void)
{
	CHECK_TEXT(secret, "quiet");
}

/* The other end of a pipe and of a socket is in a process outside of the tree. */
static void setup_outside(void)
{
	int p[2];
	pid_t pid;

	CHECK_CALL(pipe(p));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	pid = fork();
	if (pid == 0) {
		/* An orphan: its parent ends, so it becomes the harness'. */
		setsid();
		if (fork() == 0) {
			for (;;)
				pause();
		}
		_exit(0);
	}
	CHECK(dup2(p[0], 51) == 51);
	close(p[0]);
	close(p[1]);
	CHECK(dup2(fds[0], 52) == 52);
	close(fds[0]);
	close(fds[1]);
	CHECK_INT(waitpid(pid, NULL, 0), pid);
}

static void check_outside(void)
{
	struct pollfd p[2] = { { 51, POLLIN, 0 }, { 52, POLLIN, 0 } };

	CHECK_INT(poll(p, 2, 0), 0);
	CHECK(write(52, "x", 1) == 1);
}

/*
 * A process that has unmapped all but a page that counts, libc and vDSO with it, and what lies
 * behind that page: code of a file that a frame of ckpt's could return to, if any, and memory.
 */
struct bare {
	uint8_t code[64];
	volatile int64_t below, above, count;
};

#define BARE_MEMORY (64ul << 10)

static struct bare *bare[2];
static pid_t bare_pid[2];

static const uint8_t bare_code[] = {
	0x0f, 0x05,                         /* syscall: munmap what is below */
	0x49, 0x89, 0x45, 0x40,             /* mov %rax, 64(%r13) */
	0x4c, 0x89, 0xe7,                   /* mov %r12, %rdi */
	0x4c, 0x89, 0xf6,                   /* mov %r14, %rsi */
	0xb8, 0x0b, 0x00, 0x00, 0x00,       /* mov $SYS_munmap, %eax */
	0x0f, 0x05,                         /* syscall: what is above */
	0x49, 0x89, 0x45, 0x48,             /* mov %rax, 72(%r13) */
	0x49, 0xff, 0x45, 0x50, 0xf3, 0x90, /* incq 80(%r13); pause */
	0xeb, 0xf8,                         /* jmp to the incq */
};
/* syscall; ret */
static const uint8_t call_code[] = { 0x0f, 0x05, 0xc3 };
/* The same, and mov $SYS_rt_sigreturn, %eax; syscall */
static const uint8_t all_code[] = { 0x0f, 0x05, 0xc3, 0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05 };

static void __attribute__((noreturn)) unmap_all(struct bare *b, uint64_t keep)
{
	const uint64_t page = (uintptr_t)b, end = 0x7ffffffff000;
	register uint64_t above asm("r12") = page + keep;
	register struct bare *self asm("r13") = b;
	register uint64_t len asm("r14") = end - above;

	asm volatile("jmp *%4" ::"a"(SYS_munmap), "D"(0x10000), "S"(page - 0x10000), "r"(above),
		     "r"(self), "r"(len)
		     : "rcx", "r11", "memory");
	__builtin_unreachable();
}

/* The I-th, with the code of FD in it, if that is one, PATCHED or as it is, and MEMORY. */
static void start_bare(int i, int fd, bool patched, uint64_t memory)
{
	uint64_t keep = 4096 + (fd >= 0 ? 4096 : 0) + memory;
	char *at = mmap(NULL, keep, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct bare *b = mmap(at, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			      MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	CHECK(at != MAP_FAILED && b != MAP_FAILED);
	bare[i] = b;
	memcpy(b->code, bare_code, sizeof(bare_code));
	b->below = b->above = 1;
	if (fd >= 0) {
		char *code = mmap(at + 4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
				  fd, 0);

		CHECK(code != MAP_FAILED);
		if (patched)
			memset(code, 0x90, 4096);
		CHECK_CALL(mprotect(code, 4096, PROT_READ | PROT_EXEC));
	}
	bare_pid[i] = CHECK_CALL(fork());
	if (!bare_pid[i]) {
		/* The kernel would write to it. */
		if (__rseq_size)
			syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset,
				__rseq_size < 32 ? 32 : __rseq_size, RSEQ_FLAG_UNREGISTER,
				RSEQ_SIG);
		unmap_all(b, keep);
	}
	CHECK(EVENTUALLY(b->count > 0));
	if (b->below || b->above) {
		kill(bare_pid[i], SIGKILL);
		case_skip("this kernel does not let go of the vDSO");
	}
}

static int code_file(const uint8_t *code, size_t len)
{
	int fd = CHECK_CALL(open("code", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700));

	CHECK(write(fd, code, len) == (ssize_t)len && ftruncate(fd, 4096) == 0);
	return fd;
}

static void setup_bare(void)
{
	start_bare(0, -1, false, 0);
}

static void setup_no_return(void)
{
	int fd = code_file(call_code, sizeof(call_code));

	start_bare(0, fd, false, BARE_MEMORY);
	close(fd);
}

static void setup_no_memory(void)
{
	int fd = code_file(all_code, sizeof(all_code));

	start_bare(0, fd, false, 0);
	close(fd);
}

/* What was found in the code of one is not in that of the other. */
static void setup_patched(void)
{
	int fd = code_file(all_code, sizeof(all_code));

	start_bare(0, fd, false, BARE_MEMORY);
	start_bare(1, fd, true, BARE_MEMORY);
	close(fd);
}

static void check_bare(void)
{
	for (int i = 0; i < 2 && bare[i]; i++) {
		int64_t count = bare[i]->count;

		CHECK(EVENTUALLY(bare[i]->count > count));
		CHECK_CALL(kill(bare_pid[i], SIGKILL));
		CHECK_INT(waitpid(bare_pid[i], NULL, 0), bare_pid[i]);
	}
}

CASES({ "files that cannot be captured are named all at once", setup, check,
	.refused = { "fd 41", "fd 42", "fd 43", "fd 44", "fd 45", "an io_uring", "a userfaultfd",
		     "kernel.io_uring_disabled", "CKPT-E0201" } },
      { "what a child holds is named", setup_in_child, NULL,
	.refused = { "fd 47", "a userfaultfd" } },
      { "a file lock is refused", setup_lock, check_lock,
	.refused = { "fd 48", "CKPT-E0209", "--file-locks" },
	.not_inside = "from inside locks are kept without being asked for" },
      { "secret memory is refused", setup_area, check_area, .refused = { "CKPT-E0205" } },
      { "files that lead outside of the tree are named", setup_outside, check_outside,
	.refused = { "fd 51", "fd 52", "CKPT-E0202" } },
      { "a process without code to run a system call with", setup_bare, check_bare,
	.flags = CASE_RUNS,
	.refused = { "CKPT-E0108", "cannot find code of it that runs a system call",
		     "; the program "
		     "offers no place to run a system call safely; use ckpt-run" },
	.not_inside = "it has unmapped the library" },
      { "one with code that does not return from a signal", setup_no_return, check_bare,
	.flags = CASE_RUNS,
	.refused = { "CKPT-E0108", "cannot find code of it that returns from a signal" },
	.not_inside = "it has unmapped the library" },
      { "one that has no memory for it", setup_no_memory, check_bare, .flags = CASE_RUNS,
	.refused = { "CKPT-E0108", "no memory that it can spare" },
	.not_inside = "it has unmapped the library" },
      { "one that has patched what another has of the same file", setup_patched, check_bare,
	.flags = CASE_RUNS,
	.refused = { "CKPT-E0108", "cannot run a system call in it: its code was changed" },
	.not_inside = "it has unmapped the library" })
