/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dump as a whole, on children of our own: that everything which stands against it is named in
 * one go, that a dump that fails or is stopped leaves the process running and no image, and that an
 * image can be loaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/store/image.h"
#include "injector/dump.h"
#include "tests/lib/proc.h"
#include "tests/lib/tap.h"

#define SYS_MEMFD_SECRET 447 /* Linux 5.14 */

static struct ckpt_arena *arena;
static char dir[] = "/tmp/test-dump-XXXXXX";
static int dirfd_of_image;

/* In a session of its own, with no descriptor of ours but one on /dev/null. */
static pid_t start(void (*prepare)(void))
{
	int p[2];
	char c;
	pid_t pid;

	must(pipe2(p, O_CLOEXEC) == 0, "a pipe");
	pid = fork();
	if (!pid) {
		setsid();
		dup2(p[1], 100);
		close_range(0, 99, 0);
		close_range(101, ~0u, 0);
		if (open("/dev/null", O_RDWR) || chdir("/"))
			_exit(1);
		if (prepare)
			prepare();
		if (write(100, "x", 1) != 1)
			_exit(1);
		close(100);
		for (;;)
			pause();
	}
	close(p[1]);
	must(pid > 0 && read(p[0], &c, 1) == 1, "a process");
	close(p[0]);
	return pid;
}

static bool is_running(pid_t pid)
{
	char path[64], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	if (f)
		fclose(f);
	return state == 'S' || state == 'R';
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static struct ckpt_dump_opts options(pid_t pid)
{
	return (struct ckpt_dump_opts){
		.pid = pid,
		.dirfd = dirfd_of_image,
		.dir = dir,
		.leave_running = true,
		.timeout_s = 10,
	};
}

static bool has_problem(const struct ckpt_problems *all, enum ckpt_code number, const char *text)
{
	for (size_t i = 0; i < all->n; i++) {
		if (all->v[i].number == number && strstr(all->v[i].text, text))
			return true;
	}
	return false;
}

static void *unshare_here(void *arg)
{
	if (unshare(CLONE_FILES))
		_exit(1);
	*(volatile bool *)arg = true;
	for (;;)
		pause();
	return NULL;
}

static void make_odd(void)
{
	/* The first call that a capture would make it run. */
	struct sock_filter code[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, 0 },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_brk },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	struct sock_fprog filter = { 4, code };
	int secret = syscall(SYS_MEMFD_SECRET, 0);
	volatile bool done = false;
	pthread_t thread;

	flock(open("/tmp", O_RDONLY), LOCK_SH);
	if (secret >= 0 && (ftruncate(secret, 4096) < 0 ||
			    mmap(NULL, 4096, PROT_READ, MAP_SHARED, secret, 0) == MAP_FAILED))
		_exit(1);
	pthread_create(&thread, NULL, unshare_here, (void *)&done);
	while (!done)
		sched_yield();
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, 2, &filter);
}

static void test_all_named(void)
{
	struct ckpt_problems all = { .arena = arena };
	struct ckpt_err err = CKPT_ERR_INIT;
	int secret = syscall(SYS_MEMFD_SECRET, 0);
	bool has_secret = secret >= 0 && close(secret) == 0;
	pid_t pid = start(make_odd);
	struct ckpt_dump_opts opts = options(pid);
	struct ckpt_dump_stats stats;

	is(ckpt_dump_check(&opts, arena, &all, &err), 0, "a check with problems is no failure");
	for (size_t i = 0; i < all.n; i++)
		diag("%s", all.v[i].text);
	ok(has_problem(&all, CKPT_E_SECCOMP, "seccomp"), "seccomp is named");
	ok(has_problem(&all, CKPT_E_SHARED_STATE, "descriptors of its own"),
	   "a thread apart is named");
	ok(has_problem(&all, CKPT_E_FILE_LOCK, "FLOCK"), "a lock is named");
	if (has_secret)
		ok(has_problem(&all, CKPT_E_FILE_KIND, "secretmem"), "a file of no kind is named");
	if (has_secret)
		ok(has_problem(&all, CKPT_E_AREA_KIND, "memfd_secret"), "secret memory is named");
	ok(is_running(pid), "and it goes on");
	all = (struct ckpt_problems){ .arena = arena };
	is(ckpt_dump(&opts, arena, &stats, &all, &err), -ENOTSUP, "a dump refuses it");
	ok(all.n > 2, "for all of that");
	is(test_n_files(dir), 0, "no file is left");
	ok(is_running(pid), "and it still goes on");
	end(pid);
}

static void test_image(void)
{
	struct ckpt_problems all = { .arena = arena };
	struct ckpt_err err = CKPT_ERR_INIT;
	pid_t pid = start(NULL);
	struct ckpt_dump_opts opts = options(pid);
	struct ckpt_dump_stats stats;
	struct ckpt_image *image;
	struct ckpt_snapshot *snap;

	if (!ok(ckpt_dump(&opts, arena, &stats, &all, &err) == 0, "a dump"))
		diag("%s", err.text);
	ok(is_running(pid), "leaves it running");
	must(ckpt_image_open(&image, arena, dirfd_of_image, dir, &err) == 0 &&
		     ckpt_image_load(image, &snap, &err) == 0,
	     "the image can be loaded");
	is(ckpt_image_verify_pages(image, 2, &err), 0, "its pages are whole");
	is(snap->tasks[0]->pid, pid, "it is of that process");
	ok(snap->inventory->vdso.len >= 4096 && snap->inventory->has_xfeatures,
	   "with a vDSO and registers");
	ckpt_image_close(image);
	is(ckpt_dump(&opts, arena, &stats, &all, &err), -EEXIST, "an image is not overwritten");
	is(err.number, CKPT_E_IMAGE_EXISTS, "which is said");
	ckpt_image_remove(dirfd_of_image, true);
	opts.leave_running = false;
	is(ckpt_dump(&opts, arena, &stats, &all, &err), 0, "a dump that ends it");
	ok(!is_running(pid), "it has ended");
	waitpid(pid, NULL, 0);
	ckpt_image_remove(dirfd_of_image, true);
}

static void test_stopped_by_signal(void)
{
	struct ckpt_problems all = { .arena = arena };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct sigaction ignore = { .sa_handler = SIG_IGN }, old;
	pid_t pid = start(NULL);
	struct ckpt_dump_opts opts = options(pid);
	struct ckpt_dump_stats stats;
	sigset_t set;

	opts.leave_running = false;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGTERM);
	is(ckpt_dump(&opts, arena, &stats, &all, &err), -ECANCELED, "a signal stops the dump");
	ok(strstr(err.text, "SIGTERM"), "and is named: %s", err.text);
	ok(is_running(pid) && !test_n_files(dir), "the process goes on, no file is left");
	sigpending(&set);
	ok(!sigismember(&set, SIGTERM), "the signal is used up");
	sigaction(SIGTERM, &ignore, &old);
	raise(SIGTERM);
	is(ckpt_dump(&opts, arena, &stats, &all, &err), 0, "one that is ignored does not");
	sigaction(SIGTERM, &old, NULL);
	end(pid);
	ckpt_image_remove(dirfd_of_image, true);
}

int main(void)
{
	struct ckpt_err err;

	if (ckpt_arena_open(&arena, 1ul << 30, &err) < 0 || !mkdtemp(dir))
		return 1;
	dirfd_of_image = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	test_all_named();
	test_image();
	test_stopped_by_signal();
	rmdir(dir);
	ckpt_arena_close(arena);
	return tap_end();
}
