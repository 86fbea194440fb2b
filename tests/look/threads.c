/* SPDX-License-Identifier: Apache-2.0 */
/* A target whose stacks, memory and descriptors are known: threads in several depths and states,
 * one in a signal handler; a deleted file, a pipe with data. "ready" is printed when all are there.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))

static sem_t arrived, never;
static volatile int enough; /* never */
char secret[4096] = "the secret of this program";

KEEP static int rest(int how)
{
	sem_post(&arrived);
	while (!enough) {
		if (how == 0)
			sem_wait(&never);
		else if (how == 1)
			poll(NULL, 0, -1);
		else
			pause();
	}
	return how + 1;
}

KEEP int deeper(int depth, int how)
{
	volatile char room[64 + 8 * 7];

	room[0] = depth;
	return depth ? deeper(depth - 1, how) + room[0] : rest(how) + room[0];
}

static void *work(void *arg)
{
	long n = (long)arg;

	return (void *)(long)(deeper(n % 7, n % 3) + 1);
}

KEEP static void handler(int sig)
{
	deeper(3, sig == SIGUSR1 ? 1 : 0);
}

static void *interrupted(void *arg)
{
	raise(SIGUSR1);
	return arg;
}

static void files(void)
{
	int p[2], fd = open("deleted", O_RDWR | O_CREAT, 0600);

	if (fd < 0 || pipe(p) < 0 || unlink("deleted") < 0)
		exit(1);
	if (write(fd, "once upon a time", 16) != 16 || write(p[1], "in the pipe", 11) != 11)
		exit(1);
}

/* There is one even where malloc(3) is that of a sanitizer, which has its own. */
static int heap(void)
{
	char *p = sbrk(4096);

	if (p == (void *)-1)
		return -1;
	memset(p, 1, 4096);
	return 0;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 8;
	pthread_attr_t attr;
	pthread_t t;
	FILE *ready;

	if (heap() < 0)
		return 1;
	sem_init(&arrived, 0, 0);
	sem_init(&never, 0, 0);
	signal(SIGUSR1, handler);
	files();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (long i = 0; i < n; i++)
		if (pthread_create(&t, &attr, work, (void *)i))
			return 1;
	pthread_create(&t, &attr, interrupted, NULL);
	for (int i = 0; i < n + 1; i++)
		sem_wait(&arrived);
	ready = fopen("ready", "w");
	if (ready)
		fclose(ready);
	return deeper(2, 2);
}
