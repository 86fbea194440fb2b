/* SPDX-License-Identifier: Apache-2.0 */
/* Who lets others pass gets its share beside one that does not, and is as before in the end. */
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/clocks.h"
#include "engine/base/pass.h"
#include "tests/lib/tap.h"

#define MS 1000000ull

/* Of this thread; 0: the kernel does not say. */
static uint64_t slice(void)
{
	uint64_t attr[7] = { 0 };

	return syscall(SYS_sched_getattr, 0, attr, sizeof(attr), 0) < 0 ? 0 : attr[3];
}

static uint64_t cpu_ns(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

static pid_t start_busy(void)
{
	pid_t pid = fork();

	while (!pid)
		;
	return pid;
}

/* Until the two of them have had so much of the processor. */
static void work(struct ckpt_pass *pass, clockid_t other, uint64_t ns)
{
	uint64_t until = ckpt_now_ns() + 20000 * MS;

	while (cpu_ns(CLOCK_PROCESS_CPUTIME_ID) + cpu_ns(other) < ns && ckpt_now_ns() < until)
		ckpt_pass(pass);
}

int main(void)
{
	struct ckpt_pass pass = { 0 };
	uint64_t before = slice();
	cpu_set_t one;
	clockid_t other;
	pid_t pid;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	pid = start_busy();
	clock_getcpuclockid(pid, &other);
	ckpt_pass(&pass);
	ok(!before || slice() < before, "the slice is a short one");
	work(&pass, other, 500 * MS);
	diag("%llu ms of 500 ms", (unsigned long long)(cpu_ns(CLOCK_PROCESS_CPUTIME_ID) / MS));
	ok(cpu_ns(CLOCK_PROCESS_CPUTIME_ID) > 100 * MS, "others do not get all of the processor");
	ckpt_pass_end(&pass);
	is(slice(), before, "the slice is what it was");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return tap_end();
}
