/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's own words about areas: one for each, another one when its flags change. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "injector/area-words.h"
#include "tests/lib/proc.h"
#include "tests/lib/tap.h"

#define PAGE 4096
#define MOST 4096

static struct ckpt_area_word now[MOST];

/* Of the area at ADDR; 0: there is none. */
static uint64_t word_of(const struct ckpt_area_words *w, const void *addr)
{
	size_t n;

	if (!ckpt_area_words_read(w, getpid(), now, MOST, &n))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (now[i].start <= (uintptr_t)addr && (uintptr_t)addr < now[i].end)
			return now[i].word;
	return 0;
}

static size_t areas_in_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	size_t n = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		if (!strstr(line, "[vsyscall]"))
			n++;
	if (f)
		fclose(f);
	return n;
}

static void *own_files(void *arg)
{
	unshare(CLONE_FILES);
	return pause() < 0 ? arg : NULL;
}

static void flags_show(const struct ckpt_area_words *w)
{
	static const struct {
		int set, unset;
		const char *name;
	} advice[] = {
		{ MADV_DONTFORK, MADV_DOFORK, "MADV_DONTFORK" },
		{ MADV_DONTDUMP, MADV_DODUMP, "MADV_DONTDUMP" },
		{ MADV_WIPEONFORK, MADV_KEEPONFORK, "MADV_WIPEONFORK" },
		{ MADV_RANDOM, MADV_NORMAL, "MADV_RANDOM" },
	};
	char *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t before;

	mprotect(at, PAGE, PROT_READ); /* nothing beside it is like it */
	before = word_of(w, at);
	ok(before, "an area has a word");
	for (size_t i = 0; i < sizeof(advice) / sizeof(advice[0]); i++) {
		madvise(at, PAGE, advice[i].set);
		ok(word_of(w, at) != before, "%s is in it", advice[i].name);
		madvise(at, PAGE, advice[i].unset);
		ok(word_of(w, at) == before, "and is not any more");
	}
	syscall(SYS_mlock, at, PAGE); /* sanitizers have one that does nothing */
	ok(word_of(w, at) != before, "mlock is in it");
	munmap(at, PAGE);
	is(word_of(w, at), 0, "what is gone has none");
}

static void all_are_there(const struct ckpt_area_words *w)
{
	pthread_t t;
	size_t n;

	pthread_create(&t, NULL, own_files, NULL);
	usleep(10000);
	areas_in_maps(); /* once it has its memory */
	ok(ckpt_area_words_read(w, getpid(), now, MOST, &n), "they can be read");
	is(n, areas_in_maps(), "each area has one, once");
	for (size_t i = 1; i < n; i++)
		if (now[i].start < now[i - 1].end)
			ok(false, "they are in order");
	ok(!ckpt_area_words_read(w, getpid(), now, n - 1, &n), "more than there is room for");
}

static void of_another(void)
{
	struct ckpt_area_words w;
	pid_t pid = fork();
	size_t n;

	if (!pid)
		for (;;)
			pause();
	ok(ckpt_area_words_open(&w), "another process");
	ok(ckpt_area_words_read(&w, pid, now, MOST, &n) && n, "it has some");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ok(!ckpt_area_words_read(&w, pid, now, MOST, &n), "none when it is gone");
	ckpt_area_words_close(&w);
	ok(!ckpt_area_words_read(&w, pid, now, MOST, &n), "nor when it is closed");
	ckpt_area_words_close(&w);
}

static void *outlive(void *arg)
{
	return pause() < 0 ? arg : NULL;
}

static void without_first_thread(void)
{
	struct ckpt_area_words w;
	pid_t pid = fork();
	pthread_t t;
	size_t n;

	if (!pid) {
		pthread_create(&t, NULL, outlive, NULL);
		syscall(SYS_exit, 0);
	}
	for (int i = 0; i < 1000 && test_proc_state(pid, NULL) != 'Z'; i++)
		usleep(1000);
	ckpt_area_words_open(&w);
	ok(!ckpt_area_words_read(&w, pid, now, MOST, &n),
	   "nothing is said without the first thread");
	ckpt_area_words_close(&w);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(void)
{
	struct ckpt_area_words w;

	if (!ckpt_area_words_open(&w)) {
		ckpt_area_words_close(&w);
		skip_all("no BPF program may look at areas here");
	}
	flags_show(&w);
	all_are_there(&w);
	ckpt_area_words_close(&w);
	of_another();
	without_first_thread();
	return tap_end();
}
