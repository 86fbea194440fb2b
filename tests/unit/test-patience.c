/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that lets everybody pass, and is then as it was. */
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "injector/patience.h"
#include "tests/lib/tap.h"

static bool same(const struct sched_attr *a, const struct sched_attr *b)
{
	return a->sched_policy == b->sched_policy && a->sched_flags == b->sched_flags &&
	       a->sched_nice == b->sched_nice && a->sched_runtime == b->sched_runtime;
}

static struct sched_attr attr_of(pid_t tid)
{
	struct sched_attr attr = { 0 };

	must(syscall(SYS_sched_getattr, tid, &attr, sizeof(attr), 0) == 0, "attributes");
	return attr;
}

int main(void)
{
	struct ckpt_patience p = { 0 };
	struct sched_attr before, meanwhile;

	if (nice(3) < 0)
		skip_all("cannot be nice");
	before = attr_of(0);
	if (!before.sched_runtime)
		skip_all("this kernel shows no time slices (Linux 6.12)");
	ckpt_patience_begin(&p);
	meanwhile = attr_of(0);
	ok(meanwhile.sched_runtime > 10 * before.sched_runtime, "a long slice");
	meanwhile.sched_runtime = before.sched_runtime;
	ok(same(&meanwhile, &before), "nothing else is another");
	ckpt_patience_begin(&p);
	ckpt_patience_end(&p);
	meanwhile = attr_of(0);
	ok(same(&meanwhile, &before), "as before");
	ckpt_patience_end(&p);
	meanwhile = attr_of(0);
	ok(same(&meanwhile, &before), "once is enough");
	return tap_end();
}
