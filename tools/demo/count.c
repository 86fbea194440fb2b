/* SPDX-License-Identifier: Apache-2.0 */
/* Of the quickstart: prints a number each second, which is in its memory only. */
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
