/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints that nobody outside has asked for: the library starts the engine, which then asks. */
#include <errno.h>
#include <string.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

#define LOOK_MS 100
#define GIVE_WAY_MS 100

char *ckpt_number(char *end, uint32_t n)
{
	*--end = '\0';
	do
		*--end = '0' + n % 10;
	while (n /= 10);
	return end;
}

/* Blocks all signals: clone(2) below must not be interrupted, and only one stack is there. */
static pid_t start_engine(const char *option)
{
	struct ckpt_session *s = ckpt_session;
	uint64_t all = ~0ull, old = 0;
	pid_t pid = -EBUSY;

	ckpt_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
	if (!__atomic_exchange_n(&s->starting, 1, __ATOMIC_ACQUIRE)) {
		pid = ckpt_spawn_engine(option);
		__atomic_store_n(&s->starting, 0, __ATOMIC_RELEASE);
	}
	ckpt_sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
	return pid;
}

void ckpt_now_plain(void)
{
	start_engine(NULL);
}

/* A zombie counts as gone, for whoever takes orphans may not reap them: it has no program. */
static bool is_alive(pid_t pid)
{
	char path[32] = "/proc/", digits[12], *d = ckpt_number(digits + sizeof(digits), pid), byte;
	size_t len = strlen(d);

	memcpy(path + 6, d, len);
	memcpy(path + 6 + len, "/exe", 5);
	return ckpt_sys(SYS_readlink, path, &byte, 1) >= 0;
}

int ckpt_checkpoint_now(void)
{
	struct ckpt_session *s = ckpt_session;
	uint32_t before;
	pid_t pid;

	if (!ckpt_config.on)
		return -ENOSYS;
	before = __atomic_load_n(&s->now, __ATOMIC_SEQ_CST);
	pid = start_engine("--stop");
	if (pid < 0)
		return pid;
	/* The checkpoint itself happens in the handler, which interrupts this wait. */
	while (__atomic_load_n(&s->now, __ATOMIC_SEQ_CST) == before) {
		if (!is_alive(pid) && __atomic_load_n(&s->now, __ATOMIC_SEQ_CST) == before)
			return -EIO;
		ckpt_futex_wait(&s->now, before, LOOK_MS);
	}
	return s->now_result;
}

void ckpt_give_way(void)
{
	uint32_t before = __atomic_load_n(&ckpt_session->now, __ATOMIC_SEQ_CST);
	uint64_t end = ckpt_now_ns() + GIVE_WAY_MS * 1000000ull;

	while (ckpt_now_ns() < end &&
	       __atomic_load_n(&ckpt_session->now, __ATOMIC_SEQ_CST) == before)
		ckpt_futex_wait(&ckpt_session->now, before, GIVE_WAY_MS);
}

void ckpt_now_ended(const struct ckpt_end *end)
{
	struct ckpt_session *s = ckpt_session;

	s->now_result = end->outcome == CKPT_WIRE_RESTORED ? 2 :
			end->outcome == CKPT_WIRE_DONE     ? 1 :
							     -EIO;
	ckpt_set_error(end->text, strlen(end->text));
	__atomic_add_fetch(&s->now, 1, __ATOMIC_SEQ_CST);
	ckpt_futex_wake(&s->now);
}
