/* SPDX-License-Identifier: Apache-2.0 */
/* Files without a name: open, mapped, both, in several processes, and the way named semaphores are
 * used. */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int rw, ro, other;
static char text[5000];

static int make(const char *name, int size, char fill)
{
	int fd = CHECK_CALL(open(name, O_CREAT | O_EXCL | O_RDWR, 0640));

	memset(text, fill, size);
	CHECK(write(fd, text, size) == size);
	return fd;
}

static void setup(void)
{
	rw = make("gone", 5000, 'g');
	ro = CHECK_CALL(open("gone", O_RDONLY));
	CHECK_CALL(unlink("gone"));
	CHECK_INT(lseek(rw, 100, SEEK_SET), 100);
	/* Another file now has the name. */
	other = make("gone", 10, 'n');
}

static void check(void)
{
	struct stat st;

	CHECK_CALL(fstat(rw, &st));
	CHECK_INT(st.st_size, 5000);
	CHECK_INT(st.st_nlink, 0);
	CHECK_INT(st.st_mode & 07777, 0640);
	CHECK_INT(lseek(rw, 0, SEEK_CUR), 100);
	CHECK(pwrite(rw, "X", 1, 4999) == 1);
	CHECK(pread(ro, text, 5000, 0) == 5000 && text[0] == 'g' && text[4998] == 'g' &&
	      text[4999] == 'X');
	CHECK(write(ro, "x", 1) < 0 && errno == EBADF);
	CHECK(pread(other, text, 20, 0) == 10 && text[0] == 'n');
	CHECK_CALL(stat("gone", &st));
	CHECK_INT(st.st_size, 10);
}

static char *shared, *private, *tail;

static void map_deleted(const char *name)
{
	int fd = make(name, 4096 * 1, 'l');

	CHECK_CALL(ftruncate(fd, 4096 * 10));
	shared = mmap(NULL, 4096 * 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, 4096 * 10, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	tail = mmap(NULL, 4096 * 2, PROT_READ, MAP_SHARED, fd, 4096 * 8);
	CHECK(shared != MAP_FAILED && private != MAP_FAILED && tail != MAP_FAILED);
	close(fd);
	CHECK_CALL(unlink(name));
	shared[4096 * 9] = 's';
	private[4096 * 9] = 'p';
	private[4096 * 3] = 'q';
}

static void setup_mapped(void)
{
	map_deleted("lib");
}

/* Whoever reads it through mappings must not take a private copy for the file. */
static void setup_in_memory(void)
{
	char name[64];

	snprintf(name, sizeof(name), "/dev/shm/ckpt-test-lib-%d", getpid());
	map_deleted(name);
}

static void check_mapped(void)
{
	CHECK_INT(shared[0], 'l');
	CHECK_INT(private[10], 'l');
	CHECK_INT(tail[4096], 's');
	CHECK_INT(shared[4096 * 9], 's');
	CHECK_INT(private[4096 * 9], 'p');
	CHECK_INT(private[4096 * 3], 'q');
	CHECK_INT(shared[4096 * 3], 0);
	shared[4096 * 8 + 1] = 't';
	CHECK_INT(tail[1], 't');
	CHECK_INT(private[4096 * 8 + 1], 't');
}

/* As multiprocessing libraries do: a semaphore in a file that is unlinked at once, shared with
 * children. */
static sem_t *sem;

static void check_sem_child(void)
{
	CHECK_CALL(sem_wait(sem));
	CHECK_CALL(sem_post(sem + 1));
}

static void setup_sem(void)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "/dev/shm/ckpt-test-%d", getpid());
	fd = CHECK_CALL(open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
	CHECK_CALL(ftruncate(fd, 4096));
	sem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(sem != MAP_FAILED);
	CHECK_CALL(sem_init(sem, 1, 2));
	CHECK_CALL(sem_init(sem + 1, 1, 0));
	CHECK_CALL(unlink(name));
	close(fd);
	case_child(NULL, check_sem_child);
	case_child(NULL, check_sem_child);
}

static void check_sem(void)
{
	int value = -1;

	CHECK_CALL(sem_wait(sem + 1));
	CHECK_CALL(sem_wait(sem + 1));
	CHECK_CALL(sem_getvalue(sem, &value));
	CHECK_INT(value, 0);
}

static void check_file_child(void)
{
	struct stat a, b;

	CHECK_CALL(fstat(rw, &a));
	CHECK_CALL(fstat(ro, &b));
	CHECK_INT(a.st_ino, b.st_ino);
	CHECK(EVENTUALLY(pread(ro, text, 1, 0) == 1 && text[0] == 'P'));
	CHECK(pwrite(rw, "C", 1, 1) == 1);
}

static void setup_file(void)
{
	rw = make("both", 100, '-');
	ro = CHECK_CALL(open("both", O_RDONLY));
	CHECK_CALL(unlink("both"));
	case_child(NULL, check_file_child);
}

static void check_file(void)
{
	CHECK(pwrite(rw, "P", 1, 0) == 1);
	CHECK(EVENTUALLY(pread(ro, text, 2, 0) == 2 && text[1] == 'C'));
}

/* What an ordinary user cannot learn by the mapping the descriptor tells: the oracle looks. */
static void setup_both(void)
{
	rw = make("open and mapped", 5000, 'b');
	shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0);
	CHECK(shared != MAP_FAILED);
	CHECK_CALL(futimens(rw, (struct timespec[]){ { 5, 6 }, { 7, 8 } }));
	CHECK_CALL(unlink("open and mapped"));
}

static void check_both(void)
{
	struct stat st;

	CHECK_CALL(fstat(rw, &st));
	CHECK_INT(st.st_mode & 07777, 0640);
	CHECK_INT(st.st_mtim.tv_sec, 7);
	CHECK_INT(st.st_mtim.tv_nsec, 8);
	shared[0] = 'm';
	CHECK(pread(rw, text, 1, 0) == 1 && text[0] == 'm');
}

/* Made without ever having had a name. */
static void setup_tmpfile(void)
{
	rw = open(".", O_TMPFILE | O_RDWR, 0600);
	if (rw < 0)
		case_skip("no O_TMPFILE on this file system: %m");
	CHECK(write(rw, "nameless", 8) == 8);
}

static void check_tmpfile(void)
{
	CHECK(pread(rw, text, 100, 0) == 8 && !memcmp(text, "nameless", 8));
	CHECK_INT(lseek(rw, 0, SEEK_CUR), 8);
}

CASES({ "a deleted file that is open keeps content, mode and descriptions", setup, check },
      { "a deleted file that is mapped stays one file", setup_mapped, check_mapped },
      { "a deleted file of a tmpfs that is mapped stays one file", setup_in_memory, check_mapped },
      { "semaphores in a deleted file work between processes", setup_sem, check_sem },
      { "a deleted file is shared by parent and child", setup_file, check_file },
      { "a deleted file that is open and mapped keeps mode and time", setup_both, check_both },
      { "a file that never had a name keeps its content", setup_tmpfile, check_tmpfile })
