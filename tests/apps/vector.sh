#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Number crunching with the widest vectors that this processor has, in two threads that never rest.
. "$(dirname "$0")/lib.bash"
need "${CC:-cc}"

cat >"$T/v.c" <<'C'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define N 192
static void multiply(float *restrict c, const float *restrict a, const float *restrict b)
{
	memset(c, 0, N * N * sizeof(*c));
	for (int i = 0; i < N; i++)
		for (int k = 0; k < N; k++)
			for (int j = 0; j < N; j++)
				c[i * N + j] += a[i * N + k] * b[k * N + j];
}
static volatile long rounds[2];
static void *work(void *arg)
{
	long t = (long)arg;
	float *m = aligned_alloc(64, 4 * N * N * sizeof(*m)), *want = m + 2 * N * N, *c = m + 3 * N * N;

	for (int i = 0; i < 2 * N * N; i++)
		m[i] = (i * (7 + t) % 1001) * 0.001f - 0.5f;
	multiply(want, m, m + N * N);
	while (access("stop", F_OK)) {
		multiply(c, m, m + N * N);
		if (memcmp(c, want, N * N * sizeof(*c))) {
			fclose(fopen("failed", "w"));
			exit(1);
		}
		rounds[t]++;
	}
	return NULL;
}
int main(void)
{
	pthread_t p[2];

	for (long t = 0; t < 2; t++)
		pthread_create(&p[t], NULL, work, (void *)t);
	while (access("stop", F_OK)) {
		FILE *f = fopen("n.new", "w");

		fprintf(f, "%ld\n", rounds[0] < rounds[1] ? rounds[0] : rounds[1]);
		fclose(f);
		rename("n.new", "n");
		usleep(5000);
	}
	for (int t = 0; t < 2; t++)
		pthread_join(p[t], NULL);
	fclose(fopen("ended", "w"));
	return 0;
}
C
"${CC:-cc}" -O3 -march=native -mprefer-vector-width=512 -o "$T/v" "$T/v.c" -lpthread 2>"$T/out" ||
	"${CC:-cc}" -O3 -o "$T/v" "$T/v.c" -lpthread 2>"$T/out" || bad "cannot compile"
start "$T/v"
until_true greater n 3 || bad "does not start"
for round in 1 2 3 4 5; do
	take
	read -r before <n
	until_true greater n $((before + 5)) || bad "does not go on after restore $round"
	[ ! -e failed ] || bad "a product differs after restore $round"
done
for round in 1 2 3 4 5 6 7 8 9 10; do
	dump -R || bad "dump -R fails"
	[ ! -e failed ] || bad "a product differs after dump -R $round"
done
touch stop
until_true test -e ended || bad "does not come to its end"
[ ! -e failed ] || bad "a product differs"
good "vector computations are right after five restores and ten dumps"
