/* SPDX-License-Identifier: Apache-2.0 */
/* System V shared memory: with its key and its id, attached once and more often, for reading only,
 * by several processes, removed already. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define PAGE 4096ul
#define SIZE (16 * PAGE)

static int id, gone_id;
static key_t key;
static char *first, *second, *reader, *gone, *moved;
static struct shmid_ds before;

static char *attach(int segment, int flags)
{
	char *p = shmat(segment, NULL, flags);

	if (p == (void *)-1)
		case_fail("shmat: %m");
	return p;
}

/* Stays when its program ends: whoever tells the story removes it. */
static int make(size_t size)
{
	for (;;) {
		int made;

		key = 0x10000000 + getpid() * 16 + rand() % 16;
		made = shmget(key, size, IPC_CREAT | IPC_EXCL | 0640);
		if (made >= 0 || errno != EEXIST)
			return CHECK_CALL(made);
	}
}

/* For who looks at it between dump and restore. */
static void tell_id(void)
{
	FILE *f = fopen("id", "w");

	CHECK(f && fprintf(f, "%d", id) > 0 && fclose(f) == 0);
}

static int told_id(void)
{
	char *text = test_read("id", NULL);
	int told = text ? atoi(text) : -1;

	free(text);
	return told;
}

static void setup(void)
{
	id = make(SIZE);
	tell_id();
	first = attach(id, 0);
	second = attach(id, 0);
	reader = attach(id, SHM_RDONLY);
	first[0] = '0';
	first[15 * PAGE] = 'f';
	CHECK_CALL(mprotect(second + 2 * PAGE, 2 * PAGE, PROT_READ));
	CHECK_CALL(munmap(second + 8 * PAGE, PAGE));
	CHECK_CALL(shmctl(id, IPC_STAT, &before));
	gone_id = CHECK_CALL(shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600));
	gone = attach(gone_id, 0);
	strcpy(gone, "nobody else finds it");
	CHECK_CALL(shmctl(gone_id, IPC_RMID, NULL));
}

static void remove_it(void)
{
	struct shmid_ds ds;

	if (shmctl(told_id(), IPC_STAT, &ds) == 0 && !ds.shm_nattch)
		shmctl(told_id(), IPC_RMID, NULL);
}

static void check(void)
{
	struct shmid_ds ds;

	CHECK_INT(first[0], '0');
	CHECK_INT(second[0], '0');
	CHECK_INT(reader[15 * PAGE], 'f');
	CHECK_INT(second[5 * PAGE], 0);
	second[5 * PAGE] = '5';
	CHECK_INT(first[5 * PAGE], '5');
	CHECK_INT(reader[5 * PAGE], '5');
	CHECK(mprotect(reader, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
	CHECK_CALL(mprotect(second + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE));
	CHECK_CALL(shmctl(id, IPC_STAT, &ds));
	CHECK_INT(ds.shm_perm.__key, key);
	CHECK_INT(shmget(key, 0, 0), id);
	CHECK_INT(ds.shm_perm.mode, before.shm_perm.mode);
	CHECK_INT(ds.shm_perm.uid, before.shm_perm.uid);
	CHECK_INT(ds.shm_perm.cuid, before.shm_perm.cuid);
	CHECK_INT(ds.shm_segsz, SIZE);
	CHECK_INT(ds.shm_nattch, before.shm_nattch);
	CHECK_TEXT(gone, "nobody else finds it");
	CHECK_CALL(shmctl(gone_id, IPC_STAT, &ds));
	CHECK(ds.shm_perm.mode & SHM_DEST);
	CHECK_CALL(shmdt(gone));
	CHECK(shmctl(gone_id, IPC_STAT, &ds) < 0 && errno == EINVAL);
	CHECK_CALL(shmdt(first));
	CHECK_CALL(shmdt(reader));
	CHECK_CALL(shmctl(id, IPC_RMID, NULL));
}

/* ---- with a child ---- */

static void check_child(void)
{
	CHECK(EVENTUALLY(__atomic_load_n(&first[0], __ATOMIC_ACQUIRE) == 'p'));
	__atomic_store_n(&first[PAGE], 'c', __ATOMIC_RELEASE);
	CHECK_TEXT(moved + 8 * PAGE, "attached by the child");
}

static void setup_child(void)
{
	moved = attach(id, 0);
}

static void setup_shared(void)
{
	id = CHECK_CALL(shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600));
	first = attach(id, 0);
	strcpy(first + 8 * PAGE, "attached by the child");
	case_child(setup_child, check_child);
	CHECK_CALL(shmctl(id, IPC_RMID, NULL));
}

static void check_shared(void)
{
	struct shmid_ds ds;

	CHECK_CALL(shmctl(id, IPC_STAT, &ds));
	CHECK_INT(ds.shm_nattch, 3);
	CHECK_TEXT(first + 8 * PAGE, "attached by the child");
	first[PAGE] = 0;
	strcpy(first + 2 * PAGE, "x");
	__atomic_store_n(&first[0], 'p', __ATOMIC_RELEASE);
	CHECK(EVENTUALLY(__atomic_load_n(&first[PAGE], __ATOMIC_ACQUIRE) == 'c'));
}

/* ---- the dump leaves the segment behind, or it is removed in between ---- */

static void setup_left(void)
{
	id = make(SIZE);
	first = attach(id, 0);
	strcpy(first + PAGE, "as it was");
	tell_id();
}

/* By the harness: what others do to it in the meantime is not kept. */
static void write_over(void)
{
	char *p = shmat(told_id(), NULL, 0);

	if (p != (void *)-1) { /* else it is in a namespace that has ended */
		strcpy(p + 3 * PAGE, "changed");
		shmdt(p);
	}
}

static void check_left(void)
{
	CHECK_TEXT(first + PAGE, "as it was");
	CHECK_INT(first[3 * PAGE], 0);
	CHECK_INT(shmget(key, 0, 0), id);
	CHECK_CALL(shmctl(id, IPC_RMID, NULL));
}

/* ---- somebody else is attached ---- */

static void setup_peer(void)
{
	pid_t pid;

	id = CHECK_CALL(shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600));
	first = attach(id, 0);
	pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			setsid();
			for (;;)
				pause();
		}
		_exit(0);
	}
	CHECK_INT(waitpid(pid, NULL, 0), pid);
	CHECK_CALL(shmctl(id, IPC_RMID, NULL));
}

static void check_peer(void)
{
	struct shmid_ds ds;

	CHECK_CALL(shmctl(id, IPC_STAT, &ds));
	CHECK_INT(ds.shm_nattch, 2);
}

CASES({ "shared memory keeps id, key, owner and who may write", setup, check,
	.between = remove_it },
      { "shared memory that is removed already is shared by parent and child", setup_shared,
	check_shared },
      { "a segment that is still there is filled again", setup_left, check_left, CASE_GOES,
	write_over },
      { "a segment that others are attached to is refused", setup_peer, check_peer,
	.refused = { "CKPT-E0240", "outside of the tree" } })
