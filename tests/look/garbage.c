/* SPDX-License-Identifier: Apache-2.0 */
/* A target whose stack is overwritten: with zeros, noise, a frame that calls itself, or a recursion
 * deeper than anybody wants to see. "ready" is there before. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile int enough;

__attribute__((noinline, noclone)) static int deep(int n)
{
	volatile char room[16];

	room[0] = n;
	if (n)
		return deep(n - 1) + room[0];
	while (!enough)
		pause();
	return room[0];
}

/* pause(2) with the stack at AT: whoever looks finds what lies there. */
__attribute__((noinline, noclone)) static void rest_at(void *at)
{
	__asm__ volatile("mov %0, %%rsp; mov %1, %%rbp; 1: mov $34, %%eax; syscall; jmp 1b"
			 :
			 : "r"(at), "r"((char *)at + 16)
			 : "rax", "rcx", "r11", "memory");
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	const size_t size = 1 << 20;
	uint64_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FILE *ready = fopen("ready", "w");

	if (ready)
		fclose(ready);
	if (!strcmp(how, "deep"))
		return deep(30000);
	for (size_t i = 0; i < size / 8; i++)
		p[i] = !strcmp(how, "random") ? (uint64_t)random() << 20 | i :
		       !strcmp(how, "loop")   ? (uint64_t)rest_at + 4 :
						0;
	rest_at(p + 1024);
	return 0;
}
