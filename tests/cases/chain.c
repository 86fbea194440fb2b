/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that go on from each other, twenty of them. All that is written is in step: what one sort
 * of memory has and another has not, and what comes back from an older image, shows in the next
 * pass.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/busy.h"

#define LEN (512 * PAGE) /* of each sort: 2 MiB, a huge page */

/* ---- every sort of memory, in step ---- */

enum { PLAIN, HUGE, OF_FILE, SHARED, MEMFD, SYSV, N_SORTS };

static char *sort[N_SORTS];

static char *map_fd(int fd, int flags)
{
	CHECK_CALL(ftruncate(fd, LEN));
	return CHECK_CALL(mmap(NULL, LEN, PROT_READ | PROT_WRITE, flags, fd, 0));
}

static void map_sorts(void)
{
	char *twice = busy_map(2 * LEN);
	int id = CHECK_CALL(shmget(IPC_PRIVATE, LEN, IPC_CREAT | 0600));

	sort[PLAIN] = busy_map(LEN);
	sort[HUGE] = (char *)(((uintptr_t)twice + LEN - 1) / LEN * LEN);
	madvise(sort[HUGE], LEN, MADV_HUGEPAGE);
	sort[OF_FILE] = map_fd(CHECK_CALL(open("below", O_RDWR | O_CREAT, 0600)), MAP_PRIVATE);
	sort[SHARED] = CHECK_CALL(
		mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	sort[MEMFD] = map_fd(CHECK_CALL(memfd_create("chain", 0)), MAP_SHARED);
	sort[SYSV] = CHECK_CALL((char *)shmat(id, NULL, 0));
	CHECK_CALL(shmctl(id, IPC_RMID, NULL));
}

/* A part of the pages in each pass, some of them seldom: the others stay those of older images. */
static bool is_due(uint64_t page, uint64_t pass)
{
	return page % 4 == 0 || (page + pass) % 16 == 0;
}

static void *write_sorts(void *arg)
{
	static uint64_t want[LEN / PAGE];

	for (uint64_t pass = 1; !busy_ends; pass++) {
		for (uint64_t page = 0; page < LEN / PAGE; page++) {
			for (int i = 0; i < N_SORTS; i++) {
				volatile uint64_t *word = (void *)(sort[i] + page * PAGE);

				if (*word != want[page])
					case_fail("sort %d, page %lu: %lu, not %lu", i, page, *word,
						  want[page]);
				if (is_due(page, pass))
					*word = pass * LEN + page;
			}
			if (is_due(page, pass))
				want[page] = pass * LEN + page;
			if (page % 32 == 0)
				usleep(100);
		}
		busy_passes = pass;
	}
	return arg;
}

static void setup_sorts(void)
{
	map_sorts();
	busy_start(write_sorts);
}

/* ---- what is given back stays away ---- */

#define N_BLOCKS 40
#define BLOCK (32 * PAGE)

static char *block[N_BLOCKS];
static uint64_t has[N_BLOCKS]; /* 0: it is empty */
static int memfd;

static void look_at(int b)
{
	for (size_t at = 0; !has[b] && at < BLOCK; at += PAGE)
		CHECK_INT(*(volatile uint64_t *)(block[b] + at), 0);
	if (has[b])
		busy_check(block[b], BLOCK, has[b]);
}

static void give_back(int b)
{
	switch (b % 5) {
	case 0:
		CHECK_CALL(madvise(block[b], BLOCK, MADV_DONTNEED));
		break;
	case 1:
		CHECK_CALL(mmap(block[b], BLOCK, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		break;
	case 2: /* another address, the same content */
		CHECK_CALL(munmap(block[b], BLOCK));
		block[b] = busy_map(BLOCK);
		break;
	case 3:
		CHECK_CALL(madvise(block[b], BLOCK, MADV_REMOVE));
		break;
	default:
		CHECK_CALL(fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, b * BLOCK,
				     BLOCK));
	}
	has[b] = 0;
}

/* Content goes from one block to the other with its pages. */
static void exchange(int a, int b)
{
	char *first = block[a], *moved;
	uint64_t had = has[a];

	if (a % 5 > 2 || b % 5 > 2)
		return;
	moved = busy_map(BLOCK);
	CHECK_CALL(mremap(block[a], BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, moved));
	CHECK_CALL(mremap(block[b], BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, first));
	block[b] = moved;
	has[a] = has[b];
	has[b] = had;
}

static void *change_blocks(void *arg)
{
	for (uint64_t i = 1; !busy_ends; i++) {
		int b = i * 7 % N_BLOCKS;

		look_at(b);
		if (i % 3) {
			busy_fill(block[b], BLOCK, i << 32);
			has[b] = i << 32;
		} else {
			give_back(b);
		}
		look_at(b);
		if (i % 4 == 0)
			exchange(b, (b + 5) % N_BLOCKS);
		if (i % 5 == 0) {
			CHECK_CALL(mprotect(block[b], BLOCK, PROT_READ));
			look_at(b);
			CHECK_CALL(mprotect(block[b], BLOCK, PROT_READ | PROT_WRITE));
		}
		busy_passes = i / N_BLOCKS;
		usleep(200);
	}
	return arg;
}

static void setup_blocks(void)
{
	memfd = CHECK_CALL(memfd_create("blocks", 0));
	CHECK_CALL(ftruncate(memfd, N_BLOCKS * BLOCK));
	for (int b = 0; b < N_BLOCKS; b++) {
		int fd = b % 5 == 4 ? memfd : -1, how = b % 5 < 3 ? MAP_PRIVATE : MAP_SHARED;

		block[b] = CHECK_CALL(mmap(NULL, BLOCK, PROT_READ | PROT_WRITE,
					   how | (fd < 0 ? MAP_ANONYMOUS : 0), fd,
					   fd < 0 ? 0 : b * BLOCK));
	}
	busy_start(change_blocks);
}

/* ---- children that live for some images ---- */

#define N_ALIVE 5

static void live(char *memory, uint64_t id)
{
	for (int i = 0; i < 40; i++) {
		busy_check(memory, LEN / 2, id);
		busy_check(memory + LEN / 2, LEN / 2, i ? id + i : id + LEN / 2);
		busy_fill(memory + LEN / 2, LEN / 2, id + i + 1);
		usleep(3000);
	}
	_exit(0);
}

static void *raise_children(void *arg)
{
	char *memory = busy_map(LEN);
	pid_t child[N_ALIVE] = { 0 };

	for (uint64_t i = 1; !busy_ends; i++) {
		pid_t *c = &child[i % N_ALIVE];
		int status;

		if (*c)
			CHECK(waitpid(*c, &status, 0) == *c && status == 0);
		busy_fill(memory, LEN, i << 32);
		*c = CHECK_CALL(fork());
		if (!*c)
			live(memory, i << 32);
		busy_passes = i / N_ALIVE;
		usleep(5000);
	}
	return arg;
}

static void setup_children(void)
{
	busy_start(raise_children);
}

/* ---- another program ---- */

static const char script[] =
	"[ \"$1\" = \"$2\" ] && [ ${#4} = 20000 ] || { echo bad >$3.bad; exit; }\n"
	"echo $1 >$3.new; i=0\n"
	"while [ $i -lt 5000 ]; do i=$((i + 1)); done\n"
	"mv $3.new $3\n" /* a child, too */
	"exec sh -c \"$0\" \"$0\" $(($1 + 1)) $(($2 + 1)) $3 $4\n";
static pid_t program;

static int told(void)
{
	char *text = test_read("told", NULL);
	int n = text ? atoi(text) : 0;

	free(text);
	return n;
}

static void setup_program(void)
{
	static char big[20001];

	memset(big, 'b', sizeof(big) - 1);
	program = CHECK_CALL(fork());
	if (!program) {
		execl("/bin/sh", "sh", "-c", script, script, "1", "1", "told", big, NULL);
		_exit(1);
	}
	CHECK(EVENTUALLY(told() > 2));
}

static void check_program(void)
{
	int before = told();

	CHECK(EVENTUALLY(told() > before + 2));
	CHECK(access("told.bad", F_OK) < 0 && errno == ENOENT);
}

CASES({ "private and shared memory over twenty images is of one instant", setup_sorts, busy_end,
	.flags = CASE_LOSSY, .chain = 20 },
      { "what was given back does not come back from an older image", setup_blocks, busy_end,
	.flags = CASE_LOSSY, .chain = 20 },
      { "children that the image before had not, or had more of", setup_children, busy_end,
	.flags = CASE_LOSSY, .chain = 12 },
      { "a program that becomes another one from image to image", setup_program, check_program,
	.flags = CASE_LOSSY, .chain = 8 })
