#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compiled here: C++ with exceptions in flight, OpenMP, and other mallocs (jemalloc, tcmalloc) in front of libc's.
. "$(dirname "$0")/inside.bash"
need g++
rounds=${INSIDE_ROUNDS:-40}

cat >"$T/common.h" <<'C'
#include <cstdio>
#include <cstdlib>
#include <unistd.h>
static inline void failed(const char *what, long a, long b)
{
	FILE *f = fopen("failed", "a");
	fprintf(f, "%s: %ld, not %ld\n", what, a, b);
	fclose(f);
}
static inline void report(long n)
{
	FILE *f = fopen("n.new", "w");
	fprintf(f, "%ld\n", n);
	fclose(f);
	rename("n.new", "n");
}
C
cat >"$T/exceptions.cc" <<'C'
#include "common.h"
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static thread_local int alive;
struct Guard {
	std::string text;
	Guard(int n) : text(20 + n % 50, 'x') { alive++; }
	~Guard() { alive--; }
};

static int deep(int n)
{
	Guard g(n);
	auto p = std::make_unique<Guard>(n);
	if (n == 0)
		throw std::runtime_error(g.text);
	try {
		return deep(n - 1) + 1;
	} catch (const std::runtime_error &e) {
		if (n % 3)
			throw;
		throw std::runtime_error(std::string(e.what()) + "y");
	}
}

static void round_of(int depth)
{
	size_t len = 0;
	try {
		deep(depth);
	} catch (const std::exception &e) {
		len = std::string(e.what()).size();
	}
	if (alive)
		failed("objects alive", alive, 0);
	if (len != 20u + depth / 3)
		failed("length", len, 20 + depth / 3);
}

int main()
{
	std::vector<std::thread> threads;
	volatile bool stop = false;
	for (int i = 0; i < 4; i++)
		threads.emplace_back([&stop, i] { while (!stop) round_of(30 + i); });
	for (long n = 1; access("stop", F_OK) != 0; n++) {
		for (int i = 0; i < 20; i++)
			round_of(60);
		report(n);
	}
	stop = true;
	for (auto &t : threads)
		t.join();
	fclose(fopen("ended", "w"));
}
C
cat >"$T/openmp.cc" <<'C'
#include "common.h"
#include <vector>

int main()
{
	std::vector<long> v(300000);
	for (long n = 1; access("stop", F_OK) != 0; n++) {
		long sum = 0;
#pragma omp parallel for schedule(dynamic, 1000) num_threads(4)
		for (long i = 0; i < (long)v.size(); i++)
			v[i] = i * n;
#pragma omp parallel for reduction(+ : sum) num_threads(6)
		for (long i = 0; i < (long)v.size(); i++)
			sum += v[i] / n;
		if (sum != (long)v.size() * ((long)v.size() - 1) / 2)
			failed("a sum", sum, v.size());
#pragma omp parallel num_threads(8)
		{
#pragma omp critical
			sum++;
#pragma omp barrier
#pragma omp single
			if (sum != (long)v.size() * ((long)v.size() - 1) / 2 + 8)
				failed("a barrier", sum, 8);
		}
		report(n);
	}
	fclose(fopen("ended", "w"));
}
C
cat >"$T/malloc.cc" <<'C'
#include "common.h"
#include <cstring>
#include <thread>
#include <vector>

static void churn(unsigned seed)
{
	unsigned char *block[200] = {};
	size_t size[200] = {};
	for (int i = 0; i < 20000; i++) {
		int k = rand_r(&seed) % 200;
		for (size_t j = 0; j < size[k]; j += 61)
			if (block[k][j] != (unsigned char)k)
				failed("a block", block[k][j], k);
		free(block[k]);
		size[k] = rand_r(&seed) % 40 ? rand_r(&seed) % 600 : rand_r(&seed) % 300000;
		block[k] = (unsigned char *)malloc(size[k]);
		memset(block[k], k, size[k]);
	}
	for (auto b : block)
		free(b);
}

int main()
{
	volatile bool stop = false;
	std::vector<std::thread> threads;
	for (unsigned i = 0; i < 3; i++)
		threads.emplace_back([&stop, i] { while (!stop) churn(i); });
	for (long n = 1; access("stop", F_OK) != 0; n++) {
		churn(n);
		report(n);
	}
	stop = true;
	for (auto &t : threads)
		t.join();
	fclose(fopen("ended", "w"));
}
C

# story NAME COMMAND...
story() {
	local name=$1 round
	shift
	rm -f n stop ended failed
	start "$@"
	through "$name"
	comes_to_end "$name"
	until_true gone "$pid" || bad "$name does not end"
	echo "# $name: $rounds checkpoints, two restores"
}

build() { g++ -O2 -pthread "$@" >"$T/out" 2>&1 || bad "g++ $* fails"; }
build exceptions.cc -o exceptions
story "exceptions in flight" "$T/exceptions"
if build_omp=$(echo 'int main() {}' | g++ -fopenmp -x c++ - -o omp-there 2>&1); then
	build -fopenmp openmp.cc -o openmp
	story "OpenMP" "$T/openmp"
else
	echo "skip - OpenMP: ${build_omp%%$'\n'*}"
fi
build malloc.cc -o malloc
story "malloc of libc" "$T/malloc"
for library in jemalloc tcmalloc_minimal; do
	preload=$(/sbin/ldconfig -p | sed -n "s/.*lib$library\.so.* => //p" | head -n 1)
	if grep -q __asan_init "$T/ckpt-run"; then
		echo "skip - $library: ckpt-run has a sanitizer, and starts with no other malloc"
	elif [ -n "$preload" ]; then
		story "$library" "$T/malloc"
	else
		echo "skip - $library: it is not installed"
	fi
done
good "C++ exceptions, OpenMP and malloc: $rounds checkpoints each, two restores"
