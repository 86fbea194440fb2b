/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp(2): filters stay, and bind as before: of each thread, one over the other, inherited,
 * without no_new_privs; which cannot be kept is named. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

/* Answers ANSWER to system call NR and lets all others be. */
static long install(int nr, unsigned int answer, unsigned int flags)
{
	struct sock_filter code[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr) },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, nr },
		{ BPF_RET | BPF_K, 0, 0, answer },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

static void forbid(int nr, int error)
{
	CHECK_CALL(install(nr, SECCOMP_RET_ERRNO | error, 0));
}

static void allow_no_more(void)
{
	CHECK_CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

#define CHECK_FORBIDDEN(nr, error)                          \
	do {                                                \
		CHECK_INT(syscall(nr, -1, -1, -1, -1), -1); \
		CHECK_INT(errno, error);                    \
	} while (0)

/* ---- two filters, one over the other ---- */

static void setup(void)
{
	allow_no_more();
	forbid(SYS_sync, EXFULL);
	CHECK_CALL(install(SYS_swapon, SECCOMP_RET_ERRNO | ENOANO, SECCOMP_FILTER_FLAG_LOG));
}

static void check(void)
{
	int status;
	pid_t pid;

	CHECK_FORBIDDEN(SYS_sync, EXFULL);
	CHECK_FORBIDDEN(SYS_swapon, ENOANO);
	CHECK_INT(prctl(PR_GET_SECCOMP), SECCOMP_MODE_FILTER);
	pid = CHECK_CALL(fork());
	if (!pid)
		_exit(syscall(SYS_sync) == -1 && errno == EXFULL ? 7 : 8);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(WEXITSTATUS(status), 7);
	forbid(SYS_swapoff, ENOLINK);
	CHECK_FORBIDDEN(SYS_swapoff, ENOLINK);
}

/* ---- without no_new_privs: by root, who then gives up everything ---- */

static void setup_daemon(void)
{
	forbid(SYS_sync, EXFULL);
	CHECK_CALL(setgid(TEST_UID));
	CHECK_CALL(setuid(TEST_UID));
	CHECK_CALL(prctl(PR_SET_DUMPABLE, 1));
}

static void check_daemon(void)
{
	CHECK_FORBIDDEN(SYS_sync, EXFULL);
	CHECK_INT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
	CHECK_INT(getuid(), TEST_UID);
}

/* ---- what ckpt itself makes threads call ---- */

static const int asked[] = { SYS_prctl,           SYS_personality, SYS_rt_sigaction,
			     SYS_sigaltstack,     SYS_getitimer,   SYS_brk,
			     SYS_setsid,          SYS_ptrace,      SYS_munmap,
			     SYS_set_robust_list, SYS_setuid,      SYS_capset };

static void setup_asked(void)
{
	allow_no_more();
	CHECK_CALL(prctl(PR_SET_TIMERSLACK, 123456));
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		forbid(asked[i], EXFULL);
}

static void check_asked(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		CHECK_FORBIDDEN(asked[i], EXFULL);
}

/* ---- threads ---- */

static pthread_barrier_t made, go;
static pthread_t threads[3];
static const char *wrong;
static bool for_all;

static bool is_forbidden(int nr, int error)
{
	return syscall(nr, -1, -1, -1, -1) == -1 && errno == error;
}

/* The first has no more than the leader had, the second one more, the third also its own. */
static void *thread_main(void *arg)
{
	size_t i = (size_t)arg;

	if (i >= 1)
		install(SYS_swapon, SECCOMP_RET_ERRNO | ENOANO, 0);
	if (i >= 2)
		install(SYS_swapoff, SECCOMP_RET_ERRNO | ENOLINK, 0);
	pthread_barrier_wait(&made);
	pthread_barrier_wait(&go);
	if (!is_forbidden(SYS_sync, EXFULL))
		wrong = "the common filter";
	if (is_forbidden(SYS_swapon, ENOANO) != (i >= 1))
		wrong = "the second filter";
	if (is_forbidden(SYS_swapoff, ENOLINK) != (i >= 2))
		wrong = "the third filter";
	pthread_barrier_wait(&made);
	pthread_barrier_wait(&go);
	if (for_all && !is_forbidden(SYS_uselib, EPROTO))
		wrong = "the filter for all";
	return NULL;
}

static void start_threads(size_t n)
{
	pthread_barrier_init(&made, NULL, n + 1);
	pthread_barrier_init(&go, NULL, n + 1);
	for (size_t i = 0; i < n; i++)
		CHECK(!pthread_create(&threads[i], NULL, thread_main, (void *)i));
	pthread_barrier_wait(&made);
}

static void end_threads(size_t n)
{
	pthread_barrier_wait(&go);
	for (size_t i = 0; i < n; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK_TEXT(wrong ? wrong : "nothing", "nothing");
}

static void setup_threads(void)
{
	allow_no_more();
	forbid(SYS_sync, EXFULL);
	start_threads(3);
	/* As the second and the third have, but not in common with them. */
	forbid(SYS_swapon, ENOANO);
}

static void check_threads(void)
{
	pthread_barrier_wait(&go);
	pthread_barrier_wait(&made);
	CHECK_FORBIDDEN(SYS_sync, EXFULL);
	CHECK_FORBIDDEN(SYS_swapon, ENOANO);
	CHECK(!is_forbidden(SYS_swapoff, ENOLINK));
	end_threads(3);
}

/* What the threads have in common is the same to the kernel, too: else it would refuse. */
static void setup_common(void)
{
	allow_no_more();
	forbid(SYS_sync, EXFULL);
	start_threads(1);
}

static void check_common(void)
{
	pthread_barrier_wait(&go);
	pthread_barrier_wait(&made);
	CHECK_INT(install(SYS_uselib, SECCOMP_RET_ERRNO | EPROTO, SECCOMP_FILTER_FLAG_TSYNC), 0);
	for_all = true;
	end_threads(1);
}

/* Only a thread has one, its leader none. */
static void *alone_main(void *arg)
{
	install(SYS_swapon, SECCOMP_RET_ERRNO | ENOANO, 0);
	pthread_barrier_wait(&made);
	pthread_barrier_wait(&go);
	return is_forbidden(SYS_swapon, ENOANO) ? arg : NULL;
}

static void setup_alone(void)
{
	allow_no_more();
	pthread_barrier_init(&made, NULL, 2);
	pthread_barrier_init(&go, NULL, 2);
	CHECK(!pthread_create(&threads[0], NULL, alone_main, threads));
	pthread_barrier_wait(&made);
}

static void check_alone(void)
{
	void *result;

	pthread_barrier_wait(&go);
	CHECK(!pthread_join(threads[0], &result));
	CHECK(result);
	CHECK(!is_forbidden(SYS_swapon, ENOANO));
	CHECK_INT(prctl(PR_GET_SECCOMP), 0);
}

/* ---- a child ---- */

static void check_child(void)
{
	CHECK_FORBIDDEN(SYS_sync, EXFULL);
	CHECK_FORBIDDEN(SYS_swapon, ENOANO);
}

static void setup_child(void)
{
	forbid(SYS_swapon, ENOANO);
}

static void setup_inherited(void)
{
	allow_no_more();
	forbid(SYS_sync, EXFULL);
	case_child(setup_child, check_child);
}

static void check_inherited(void)
{
	CHECK_FORBIDDEN(SYS_sync, EXFULL);
	CHECK(!is_forbidden(SYS_swapon, ENOANO));
}

/* ---- what is refused ---- */

static void setup_deadly(void)
{
	allow_no_more();
	CHECK_CALL(install(SYS_getitimer, SECCOMP_RET_KILL_PROCESS, 0));
}

static void setup_trap(void)
{
	allow_no_more();
	CHECK_CALL(install(SYS_personality, SECCOMP_RET_TRAP, 0));
}

static int listener;

static void setup_asks(void)
{
	allow_no_more();
	listener = install(SYS_swapon, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
	CHECK_CALL(listener);
	close(listener);
}

static void check_mode(void)
{
	CHECK_INT(prctl(PR_GET_SECCOMP), SECCOMP_MODE_FILTER);
}

#define INSIDE "its filter might end it in the handler of the library"

/* ---- strict: no more than read and write ---- */

static int to_strict[2], from_strict[2];
static volatile pid_t strict;

static void *go_strict(void *arg)
{
	char c;

	strict = gettid();
	CHECK_CALL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	while (read(to_strict[0], &c, 1) == 1)
		write(from_strict[1], &c, 1);
	return arg;
}

static void setup_strict(void)
{
	pthread_t t;

	CHECK_CALL(pipe(to_strict));
	CHECK_CALL(pipe(from_strict));
	CHECK(!pthread_create(&t, NULL, go_strict, NULL));
	CHECK(EVENTUALLY(strict != 0));
	case_blocked(0, strict, SYS_read);
}

static void check_strict(void)
{
	char path[64], *status, c = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", strict);
	status = test_read(path, NULL);
	CHECK(status && strstr(status, "Seccomp:\t1\n"));
	CHECK(write(to_strict[1], "x", 1) == 1 && read(from_strict[0], &c, 1) == 1);
	CHECK_INT(c, 'x');
	CHECK_INT(prctl(PR_GET_SECCOMP), 0);
}

CASES({ "filters stay, one over the other", setup, check, .flags = CASE_ROOT,
	.not_inside = INSIDE },
      { "a filter of who may not put on one any more stays", setup_daemon, check_daemon,
	.flags = CASE_ROOT, .not_inside = INSIDE },
      { "what ckpt asks may be forbidden", setup_asked, check_asked, .flags = CASE_ROOT,
	.not_inside = INSIDE },
      { "each thread has its own filters", setup_threads, check_threads, .flags = CASE_ROOT,
	.not_inside = INSIDE },
      { "what threads have in common stays common", setup_common, check_common, .flags = CASE_ROOT,
	.not_inside = INSIDE },
      { "a filter of one thread alone stays so", setup_alone, check_alone, .flags = CASE_ROOT,
	.differs = { "*/page/*" }, .not_inside = INSIDE },
      { "a child has those of its parent and its own", setup_inherited, check_inherited,
	.flags = CASE_ROOT, .not_inside = INSIDE },
      { "a filter that ends who asks is named", setup_deadly, check_mode, .flags = CASE_ROOT,
	.refused = { "CKPT-E0230", "system call 36" }, .not_inside = INSIDE },
      { "a filter that traps who asks is named", setup_trap, check_mode, .flags = CASE_ROOT,
	.refused = { "CKPT-E0230", "system call 135" }, .not_inside = INSIDE },
      { "a filter that asks another process is named", setup_asks, check_mode, .flags = CASE_ROOT,
	.refused = { "CKPT-E0230", "USER_NOTIF" }, .not_inside = INSIDE },
      { "who is no root is told that it takes root", setup, check, .flags = CASE_USER,
	.refused = { "CKPT-E0230", "only root" }, .not_inside = INSIDE },
      { "from inside no program with a filter is asked", setup_deadly, check_mode,
	.flags = CASE_INSIDE, .refused = { "CKPT-E0230", "ckpt dump" } },
      { "who may only read and write is named", setup_strict, check_strict,
	.refused = { "CKPT-E0230", "the strict mode" }, .not_inside = INSIDE },
      { "from inside it is not asked", setup_strict, check_strict, .flags = CASE_INSIDE,
	.refused = { "CKPT-E0230", "ckpt dump" } })
