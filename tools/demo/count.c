/* SPDX-License-Identifier: Apache-2.0 */
/* The program of the quickstart: prints a number each second. What it remembers is in its memory
 * only. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	for (unsigned int n = 1;; n++) {
		printf("%u\n", n);
		fflush(stdout);
		sleep(1);
	}
}
