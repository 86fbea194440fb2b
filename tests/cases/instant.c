/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is dumped is one instant of all of the tree. Threads of several processes write memory of
 * their own, and memory that all of them share, in a known sequence as fast as they can; each
 * knows from its registers what every page must hold. They also note down how far they see the
 * others: nobody may have seen what is yet to come.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/busy.h"

#define N_PROCESSES 3
#define N_WRITERS (2 * N_PROCESSES)
#define N_PAGES 128 /* of each writer in each sort of memory */

enum { OWN, SHARED, MEMFD, SYSV, N_SORTS };

/* In shared memory; rows are each written by one writer only. */
static struct board {
	volatile bool end;
	volatile uint64_t count[N_WRITERS];
	volatile uint64_t seen[N_WRITERS][N_WRITERS]; /* by the first of the second */
} * board;
static char *sort[N_SORTS];
static pid_t child[N_PROCESSES - 1];

static void map_sorts(void)
{
	const size_t len = N_WRITERS * N_PAGES * PAGE;
	int fd = CHECK_CALL(memfd_create("instant", 0)),
	    id = CHECK_CALL(shmget(IPC_PRIVATE, len, IPC_CREAT | 0600));

	CHECK_CALL(ftruncate(fd, len));
	sort[OWN] = busy_map(len);
	sort[SHARED] = CHECK_CALL(
		mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	sort[MEMFD] = CHECK_CALL(mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	sort[SYSV] = CHECK_CALL((char *)shmat(id, NULL, 0));
	CHECK_CALL(shmctl(id, IPC_RMID, NULL));
	board = CHECK_CALL(mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

/* The page holds what was written a pass ago. */
static void write_page(unsigned int who, uint64_t i)
{
	uint64_t page = who * N_PAGES + i % N_PAGES;

	for (int k = 0; k < N_SORTS; k++) {
		volatile uint64_t *word = (void *)(sort[k] + page * PAGE);

		if (*word != (i < N_PAGES ? 0 : i - N_PAGES))
			case_fail("writer %u, sort %d, page %lu: %lu, not %lu", who, k, i % N_PAGES,
				  *word, i - N_PAGES);
		*word = i;
	}
}

static void look_at_others(unsigned int who, uint64_t i, uint64_t *seen)
{
	for (unsigned int k = 0; k < N_WRITERS; k++) {
		uint64_t count = board->count[k];

		if (count < seen[k])
			case_fail("writer %u saw %lu of %u before, now %lu", who, seen[k], k,
				  count);
		if (board->seen[k][who] > i)
			case_fail("writer %u is at %lu, %u has seen %lu", who, i, k,
				  board->seen[k][who]);
		board->seen[who][k] = seen[k] = count;
	}
}

static void *write_all(void *arg)
{
	unsigned int who = (uintptr_t)arg;
	uint64_t seen[N_WRITERS] = { 0 };

	for (uint64_t i = 1; !board->end; i++) {
		write_page(who, i);
		board->count[who] = i;
		look_at_others(who, i, seen);
		if (i % 64 == 0)
			usleep(100); /* others want to live, too */
	}
	return NULL;
}

static void start_writers(unsigned int process, pthread_t *thread)
{
	for (uintptr_t i = 0; i < 2; i++)
		CHECK(!pthread_create(&thread[i], NULL, write_all, (void *)(2 * process + i)));
}

static void join_writers(const pthread_t *thread)
{
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_join(thread[i], NULL));
}

static bool all_pass(const uint64_t *before, uint64_t n)
{
	for (int i = 0; i < N_WRITERS; i++)
		if (board->count[i] < before[i] + n)
			return false;
	return true;
}

static pthread_t mine[2];

static void setup(void)
{
	static const uint64_t none[N_WRITERS];

	map_sorts();
	for (unsigned int k = 1; k < N_PROCESSES; k++) {
		pthread_t thread[2];

		child[k - 1] = CHECK_CALL(fork());
		if (child[k - 1])
			continue;
		start_writers(k, thread);
		join_writers(thread);
		_exit(0);
	}
	start_writers(0, mine);
	CHECK(EVENTUALLY(all_pass(none, 3 * N_PAGES)));
}

static void check(void)
{
	uint64_t before[N_WRITERS];

	for (int i = 0; i < N_WRITERS; i++)
		before[i] = board->count[i];
	CHECK(EVENTUALLY(all_pass(before, 2 * N_PAGES)));
	board->end = true;
	join_writers(mine);
	for (int k = 0; k < N_PROCESSES - 1; k++) {
		int status;

		CHECK(waitpid(child[k], &status, 0) == child[k] && status == 0);
	}
}

CASES({ "processes that share memory are of one instant", setup, check,
	.flags = CASE_LOSSY | CASE_ONCE },
      { "the same, and they go on", setup, check, .flags = CASE_LOSSY | CASE_ONCE | CASE_LEAVES },
      { "the same, copied while they run", setup, check,
	.flags = CASE_LOSSY | CASE_ONCE | CASE_LIVE },
      { "the same, and they go on after that", setup, check,
	.flags = CASE_LOSSY | CASE_ONCE | CASE_LIVE | CASE_LEAVES },
      { "the same, from copies of them", setup, check,
	.flags = CASE_LOSSY | CASE_ONCE | CASE_LIVE | CASE_COPIES },
      { "the same, in images that go on from each other", setup, check,
	.flags = CASE_LOSSY | CASE_ONCE, .chain = 4 })
