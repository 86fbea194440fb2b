/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are mapped when they are deleted are held, and let go when they are mapped no longer;
 * and what children of the library's own used is hidden. The sources are parts of this program.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "libinproc/apart.c"
#include "libinproc/track-maps.c"
#include "libinproc/track.c"
#include "libinproc/wrap-unlink.c"
#include "libinproc/wrap-usage.c"
#include "tests/lib/library.h"
#include "tests/lib/tap.h"

static struct held t[N_HELD];

static size_t n_held(void)
{
	size_t n = 0;

	for (int i = 0; i < N_HELD; i++)
		if (held[i].state != FREE && is_ours(&held[i]))
			t[n++] = held[i];
	return n;
}

static void make_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
	close(fd);
}

static char *map_file(const char *path)
{
	int fd = open(path, O_RDONLY);
	char *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	must(at != MAP_FAILED, "%s is mapped", path);
	close(fd);
	return at;
}

static void is_contents(int fd, const char *want)
{
	char text[100] = "";

	ok(pread(fd, text, sizeof(text) - 1, 0) >= 0, "the descriptor is open");
	is_text(text, want, "and has the contents");
}

static int next_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void test_unlink(void)
{
	int low = next_fd();
	struct stat st;
	char *at;

	make_file("a", "first");
	is(unlink("a"), 0, "a file that is not mapped");
	is(n_held(), 0, "is not held");
	make_file("a", "second");
	at = map_file("a");
	stat("a", &st);
	errno = EDOM;
	is(unlink("a"), 0, "a file that is");
	is(errno, EDOM, "errno is left alone");
	must(n_held() == 1, "is held");
	ok(t[0].fd >= CKPT_LOWEST_FD, "at a high number: %d", t[0].fd);
	ok(fcntl(t[0].fd, F_GETFD) & FD_CLOEXEC, "that no exec passes on");
	ok(t[0].dev == st.st_dev && t[0].ino == st.st_ino, "as the one it was");
	is_contents(t[0].fd, "second");
	is(next_fd(), low, "and no low number is used");
	make_file("b", "third");
	is(unlink("b"), 0, "another file");
	is(n_held(), 1, "changes nothing");
	munmap(at, 4096);
	make_file("b", "third");
	is(unlink("b"), 0, "another file, when it is mapped no more");
	is(n_held(), 0, "lets it go");
	is(fcntl(t[0].fd, F_GETFD), -1, "really");
	is(unlink("a"), -1, "a file that is not there");
	is(errno, ENOENT, "is said to be none");
	is(unlink((char *)8), -1, "a path at a wrong address");
	is(errno, EFAULT, "is said to be one");
}

/* Each way to delete "a". */
static int by_unlinkat(void)
{
	return unlinkat(AT_FDCWD, "./a", 0);
}
static int by_remove(void)
{
	return remove("a");
}
static int by_rename(void)
{
	make_file("b", "other");
	return rename("b", "a");
}
static int by_renameat(void)
{
	make_file("b", "other");
	return renameat(AT_FDCWD, "b", AT_FDCWD, "a");
}
static int by_renameat2(void)
{
	make_file("b", "other");
	return renameat2(AT_FDCWD, "b", AT_FDCWD, "a", 0);
}

static void test_ways(void)
{
	static int (*const ways[])(void) = { by_unlinkat, by_remove, by_rename, by_renameat,
					     by_renameat2 };

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		char *at;

		make_file("a", "text");
		at = map_file("a");
		is(ways[i](), 0, "a way to delete");
		is(n_held(), 1, "holds it");
		if (n_held())
			is_contents(t[0].fd, "text");
		munmap(at, 4096);
		unlink("a");
		make_file("a", "more");
		unlink("a");
		is(n_held(), 0, "and lets go");
	}
}

static void test_not(void)
{
	char *at;

	make_file("a", "one");
	make_file("b", "two");
	at = map_file("a");
	is(renameat2(AT_FDCWD, "b", AT_FDCWD, "a", RENAME_EXCHANGE), 0, "an exchange");
	is(n_held(), 0, "deletes nothing");
	is(rename("a", "c"), 0, "another name");
	is(n_held(), 0, "neither");
	is(unlinkat(AT_FDCWD, "b", AT_REMOVEDIR), -1, "a folder that is none");
	is(errno, ENOTDIR, "is said to be none");
	is(n_held(), 0, "and stays");
	must(mkdir("d", 0500) == 0, "a folder");
	is(rename("b", "d"), -1, "a file in its place");
	is(n_held(), 0, "cannot be");
	is(remove("d"), 0, "but it can go");
	is(link("b", "e"), 0, "a second name");
	is(unlink("e"), 0, "and only that goes");
	is(n_held(), 1, "is held as well");
	is(unlink("b"), 0, "and the other");
	is(n_held(), 1, "is held once");
	munmap(at, 4096);
	unlink("c");
	make_file("a", "more");
	unlink("a");
	is(n_held(), 0, "none is left");
}

static void test_shm(void)
{
	char name[50];
	char *at;
	sem_t *sem;
	int fd;

	snprintf(name, sizeof(name), "/ckpt-test-track-%d", getpid());
	fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	must(fd >= 0 && ftruncate(fd, 4096) == 0, "shared memory");
	at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	strcpy(at, "shared");
	is(shm_unlink(name), 0, "is unlinked");
	is(n_held(), 1, "and held");
	is_contents(t[0].fd, "shared");
	is(shm_unlink(name), -1, "once");
	munmap(at, 4096);
	sem = sem_open(name, O_CREAT | O_EXCL, 0600, 3);
	must(sem != SEM_FAILED, "a semaphore");
	is(sem_unlink(name), 0, "is unlinked");
	is(n_held(), 1, "and held instead");
	sem_close(sem);
}

static void test_closed(void)
{
	char *at;
	int fd;

	make_file("a", "one");
	at = map_file("a");
	unlink("a");
	must(n_held() == 1, "one is held");
	fd = t[0].fd;
	close(fd);
	is(n_held(), 0, "the program closes it");
	is(dup2(0, fd), fd, "and has something else there");
	is(n_held(), 0, "that is not taken for it");
	munmap(at, 4096);
	make_file("a", "two");
	unlink("a");
	ok(fcntl(fd, F_GETFD) >= 0, "nor closed");
	close(fd);
}

static void test_full(void)
{
	char *at[N_HELD + 2], path[10];

	for (int i = 0; i < N_HELD + 2; i++) {
		snprintf(path, sizeof(path), "m%d", i);
		make_file(path, path);
		at[i] = map_file(path);
		if (unlink(path))
			ok(false, "%s", path);
	}
	is(n_held(), N_HELD, "as many as there is room for");
	for (int i = 0; i < N_HELD + 2; i++)
		munmap(at[i], 4096);
	make_file("a", "one");
	unlink("a");
	is(n_held(), 0, "all are let go");
}

static void test_restored(void)
{
	char *at;
	struct stat st;
	int fd;

	make_file("a", "one");
	at = map_file("a");
	unlink("a");
	must(n_held() == 1, "one is held");
	make_file("b", "one");
	fd = open("b", O_RDONLY);
	dup2(fd, t[0].fd);
	fstat(fd, &st);
	close(fd);
	is(n_held(), 0, "another file in its place");
	ckpt_track_restored();
	is(n_held(), 1, "is the same after a restore");
	is(t[0].ino, st.st_ino, "as it is now");
	munmap(at, 4096);
	unlink("b");
	make_file("a", "two");
	unlink("a");
	is(n_held(), 0, "and goes");
}

static void none(struct ckpt_scan *s, uint64_t dev, uint64_t ino)
{
	s->seen += dev * 31 + ino;
}

static int lowest;

/* Whoever looks has a table of its own: what is open is asked of the leader's. */
static void look_at_leader(struct ckpt_scan *s, uint64_t dev, uint64_t ino)
{
	char path[64];

	(void)dev;
	(void)ino;
	snprintf(path, sizeof(path), "/proc/self/task/%d/fd/%d", getpid(), lowest);
	s->seen += access(path, F_OK) == 0;
}

static void test_scan_is_not_seen(void)
{
	struct ckpt_scan s = { .each = look_at_leader, .base = "a" };

	lowest = next_fd();
	n_threads = 2;
	ok(ckpt_scan_maps(&s), "a look with others beside");
	is(s.seen, 0, "that they do not see");
	is(next_fd(), lowest, "nor later");
	n_threads = 1;
}

/* Both ways to look say the same. */
static void test_scans(void)
{
	struct ckpt_scan asked = { .each = none, .base = "a" }, read;
	int fd = open("/proc/self/maps", O_RDONLY);
	struct stat st;
	char *at;

	make_file("a", "one");
	at = map_file("a");
	stat("a", &st);
	asked.dev = st.st_dev;
	asked.ino = st.st_ino;
	read = asked;
	must(read_text(&read, fd), "the text is read");
	ok(read.mapped && read.mapped_dev == st.st_dev, "and has the file");
	if (ask(&asked, fd)) {
		ok(asked.mapped && asked.mapped_dev == st.st_dev, "the kernel has it, too");
		ok(asked.seen == read.seen, "and all others");
	}
	for (int by = 0; by < 2; by++) {
		struct ckpt_scan s = { .each = none, .base = "a", .dev = 1, .ino = st.st_ino };

		lseek(fd, 0, SEEK_SET);
		if (by == 0 ? read_text(&s, fd) : ask(&s, fd))
			ok(s.mapped && s.mapped_dev == st.st_dev, "found by its name");
		s = (struct ckpt_scan){ .each = none, .base = "aa", .dev = 1, .ino = st.st_ino };
		lseek(fd, 0, SEEK_SET);
		if (by == 0 ? read_text(&s, fd) : ask(&s, fd))
			ok(!s.mapped, "and only by its own");
	}
	close(fd);
	munmap(at, 4096);
	unlink("a");
}

static void *delete_often(void *arg)
{
	char path[20];

	for (int i = 0; i < 200; i++) {
		char *at;
		int fd;

		snprintf(path, sizeof(path), "t%d-%d", *(int *)arg, i);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
		if (fd < 0 || ftruncate(fd, 4096))
			return (void *)1;
		at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
		if (unlink(path))
			return (void *)1;
		munmap(at, 4096);
	}
	return NULL;
}

static void test_threads(void)
{
	int number[4] = { 0, 1, 2, 3 };
	pthread_t threads[4];
	void *ret;

	for (int i = 0; i < 4; i++)
		must(!pthread_create(&threads[i], NULL, delete_often, &number[i]), "a thread");
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &ret);
		ok(!ret, "deletes");
	}
	make_file("a", "one");
	unlink("a");
	is(n_held(), 0, "and nothing is left");
	is(all_held(), 0, "of it");
	for (int i = 0; i < N_HELD; i++)
		if (held[i].state)
			ok(false, "entry %d", i);
}

/* ---- what children used ---- */

static void burn(int ms)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		while (clock() * 1000 / CLOCKS_PER_SEC < ms)
			;
		_exit(0);
	}
	waitpid(pid, &status, 0);
}

static int64_t used(const struct rusage *r)
{
	return us(r->ru_utime) + us(r->ru_stime);
}

static void test_usage(void)
{
	struct rusage first, before, after, r;
	struct tms tms, tms2;

	burn(30);
	getrusage(RUSAGE_CHILDREN, &first);
	times(&tms);
	ckpt_sys(SYS_getrusage, RUSAGE_CHILDREN, &before);
	ok(used(&first) == used(&before) && used(&first) > 20000, "children are counted");
	burn(60);
	ckpt_sys(SYS_getrusage, RUSAGE_CHILDREN, &after);
	after.ru_maxrss += 1000;
	ckpt_usage_hide(&before, &after);
	getrusage(RUSAGE_CHILDREN, &r);
	is(used(&r), used(&first), "but not ours");
	is(r.ru_minflt, first.ru_minflt, "nor its faults");
	is(r.ru_nivcsw, first.ru_nivcsw, "nor its switches");
	times(&tms2);
	ok(tms2.tms_cutime + tms2.tms_cstime - tms.tms_cutime - tms.tms_cstime <= 2,
	   "times() agrees");
	burn(30);
	getrusage(RUSAGE_CHILDREN, &r);
	ok(used(&r) > used(&first) + 20000 && used(&r) < used(&first) + 55000,
	   "later ones are counted: %d us", (int)(used(&r) - used(&first)));
	ckpt_usage_restored();
	getrusage(RUSAGE_CHILDREN, &r);
	ckpt_sys(SYS_getrusage, RUSAGE_CHILDREN, &after);
	is(used(&r), used(&after), "after a restore all are");
	is(getrusage(RUSAGE_SELF, &r), 0, "others are left alone");
}

static void test_maxrss(void)
{
	struct rusage before, after, r;

	ckpt_sys(SYS_getrusage, RUSAGE_CHILDREN, &after);
	before = after;
	before.ru_maxrss = 1;
	ckpt_usage_hide(&before, &after);
	getrusage(RUSAGE_CHILDREN, &r);
	is(r.ru_maxrss, 1, "the largest is the program's own");
	before = after;
	ckpt_usage_hide(&before, &after);
	getrusage(RUSAGE_CHILDREN, &r);
	is(r.ru_maxrss, 1, "also after a smaller one of ours");
	if (fork() == 0) {
		getrusage(RUSAGE_CHILDREN, &r);
		_exit(r.ru_maxrss);
	}
	int status;

	wait(&status);
	is(WEXITSTATUS(status), 0, "a fork has other children");
	ckpt_usage_restored();
}

int main(void)
{
	char dir[] = "/tmp/ckpt-track-XXXXXX";

	must(mkdtemp(dir) && !chdir(dir), "a folder");
	test_unlink();
	test_ways();
	test_not();
	test_shm();
	test_closed();
	test_full();
	test_restored();
	test_scans();
	test_scan_is_not_seen();
	test_threads();
	test_usage();
	test_maxrss();
	unlink("b");
	ok(rmdir(dir) == 0, "the folder is empty");
	return tap_end();
}
