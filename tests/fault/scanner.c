/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For scripts: `scanner MB FILE` reads its memory over and over, and counts in FILE, which is
 * shared: words that are not what they were, and rounds. With each SIGUSR1 it has a child that does
 * so, too. What it needs for that is in registers and in one page of its stack.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STEP 512 /* words of a page */

static uint64_t value(uint64_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15;
}

static void have_child(int sig)
{
	(void)sig;
	fork();
}

int main(int argc, char **argv)
{
	uint64_t n = argc == 3 ? strtoull(argv[1], NULL, 10) << 17 : 0, *word;
	int fd = argc == 3 ? open(argv[2], O_RDWR | O_CREAT, 0600) : -1;
	volatile uint64_t *count;

	if (fd < 0 || ftruncate(fd, 4096) < 0)
		return 2;
	count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	word = mmap(NULL, n * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (count == MAP_FAILED || word == MAP_FAILED)
		return 1;
	close(fd);
	signal(SIGUSR1, have_child);
	for (uint64_t i = 0; i < n; i++)
		word[i] = value(i);
	for (;;) {
		for (uint64_t i = 0; i < n; i += STEP)
			count[0] += *(volatile uint64_t *)&word[i] != value(i);
		count[1]++;
		/* Until the file is gone: then nobody is left who would end us. */
		if (count[1] % 64 == 0 && access(argv[2], F_OK) < 0)
			return 0;
	}
}
