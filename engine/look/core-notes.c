/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of a process in front of its memory: threads with registers, name, files. In the
 * order of the kernel: debuggers take what follows an NT_PRSTATUS for that thread's. */
#include <elf.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/procfs.h>
#include "engine/look/core.h"
#include "proto/creds.pb-c.h"

#define FPREGS 512 /* the legacy area of the extended state */
#define FILES_ROOM (4u << 20)

struct notes {
	struct ckpt_arena *arena;
	unsigned char *data;
	size_t n, room;
};

static void append(struct notes *notes, const void *data, size_t len)
{
	if (notes->room - notes->n < len + 4) {
		unsigned char *more;

		notes->room = 2 * (notes->room + len + 4);
		more = ckpt_alloc(notes->arena, notes->room);
		if (notes->n)
			memcpy(more, notes->data, notes->n);
		notes->data = more;
	}
	if (len)
		memcpy(notes->data + notes->n, data, len);
	notes->n += len;
}

static void pad(struct notes *notes)
{
	static const char zero[4];

	append(notes, zero, -notes->n & 3);
}

static void add(struct notes *notes, const char *name, uint32_t type, const void *data, size_t len)
{
	Elf64_Nhdr head = { strlen(name) + 1, len, type };

	append(notes, &head, sizeof(head));
	append(notes, name, head.n_namesz);
	pad(notes);
	append(notes, data, len);
	pad(notes);
}

static void add_status(struct notes *notes, const struct ckpt_look *look,
		       const struct ckpt_task *task, const struct ckpt_thread *thread)
{
	struct elf_prstatus st;
	const struct ckpt_task *parent = task->parent ? look->snap->tasks[task->parent - 1] : NULL;

	memset(&st, 0, sizeof(st));
	st.pr_info.si_signo = st.pr_cursig = task->run_state == CKPT_STOPPED ? task->stop_signal :
									       0;
	st.pr_pid = thread->tid;
	st.pr_ppid = parent ? parent->pid : 0;
	st.pr_pgrp = task->pgid;
	st.pr_sid = task->sid;
	st.pr_sighold = thread->regs.sigmask;
	_Static_assert(sizeof(st.pr_reg) == sizeof(thread->regs.gp), "registers");
	memcpy(&st.pr_reg, &thread->regs.gp, sizeof(st.pr_reg));
	st.pr_fpvalid = thread->regs.xstate_len >= FPREGS;
	add(notes, "CORE", NT_PRSTATUS, &st, sizeof(st));
}

static void add_vectors(struct notes *notes, const struct ckpt_thread *thread)
{
	if (thread->regs.xstate_len < FPREGS)
		return;
	add(notes, "CORE", NT_FPREGSET, thread->regs.xstate, FPREGS);
	add(notes, "LINUX", NT_X86_XSTATE, thread->regs.xstate, thread->regs.xstate_len);
}

static void fill_creds(const struct ckpt_task *task, struct elf_prpsinfo *info)
{
	for (size_t i = 0; i < task->n_state; i++) {
		const Ckpt__Creds *creds = (const void *)task->state[i]->msg;

		if (creds->base.descriptor != &ckpt__creds__descriptor)
			continue;
		info->pr_uid = creds->n_uid ? creds->uid[0] : 0;
		info->pr_gid = creds->n_gid ? creds->gid[0] : 0;
	}
}

static void add_name(struct notes *notes, struct ckpt_look *look, const struct ckpt_task *task)
{
	const struct ckpt_task *parent = task->parent ? look->snap->tasks[task->parent - 1] : NULL;
	uint64_t len = task->mm->arg_end - task->mm->arg_start;
	struct elf_prpsinfo info;
	struct ckpt_err none;
	size_t n;

	memset(&info, 0, sizeof(info));
	info.pr_sname = task->run_state == CKPT_STOPPED ? 'T' : 'S';
	info.pr_state = task->run_state == CKPT_STOPPED ? 3 : 1;
	info.pr_pid = task->pid;
	info.pr_ppid = parent ? parent->pid : 0;
	info.pr_pgrp = task->pgid;
	info.pr_sid = task->sid;
	fill_creds(task, &info);
	memcpy(info.pr_fname, task->comm, sizeof(info.pr_fname));
	n = len < sizeof(info.pr_psargs) ? len : sizeof(info.pr_psargs) - 1;
	if (task->mm->arg_end < task->mm->arg_start ||
	    ckpt_look_read(look, task, task->mm->arg_start, info.pr_psargs, n, &none) < 0)
		n = 0;
	info.pr_psargs[n] = 0;
	while (n && !info.pr_psargs[n - 1])
		n--;
	for (size_t i = 0; i < n; i++)
		if (!info.pr_psargs[i])
			info.pr_psargs[i] = ' ';
	add(notes, "CORE", NT_PRPSINFO, &info, sizeof(info));
}

static const char *path_of(const struct ckpt_look *look, const Ckpt__Area *area)
{
	return area->file ? ckpt_look_path(look->snap->objects[area->file - 1]) : NULL;
}

/* Count and page size; start, end, page in the file for each; then the names. */
static void add_files(struct notes *notes, const struct ckpt_look *look,
		      const struct ckpt_task *task)
{
	struct notes body = { .arena = look->arena };
	uint64_t head[2] = { 0, CKPT_PAGE };
	size_t n = 0, names = 0;

	for (size_t i = 0; i < task->mm->n_areas; i++) {
		const char *path = path_of(look, task->mm->areas[i]);

		if (path && names + strlen(path) + 1 < FILES_ROOM) {
			names += strlen(path) + 1;
			head[0]++;
		}
	}
	append(&body, head, sizeof(head));
	for (size_t i = 0; i < task->mm->n_areas && n < head[0]; i++) {
		const Ckpt__Area *a = task->mm->areas[i];
		uint64_t row[3] = { a->start, a->end, a->offset / CKPT_PAGE };

		if (path_of(look, a) && ++n)
			append(&body, row, sizeof(row));
	}
	n = 0;
	for (size_t i = 0; i < task->mm->n_areas && n < head[0]; i++) {
		const char *path = path_of(look, task->mm->areas[i]);

		if (path && ++n)
			append(&body, path, strlen(path) + 1);
	}
	add(notes, "CORE", NT_FILE, body.data, body.n);
}

void ckpt_core_notes(struct ckpt_look *look, const struct ckpt_task *task, unsigned char **notesp,
		     size_t *lenp)
{
	struct notes notes = { .arena = look->arena };
	siginfo_t si;

	memset(&si, 0, sizeof(si));
	si.si_signo = task->run_state == CKPT_STOPPED ? task->stop_signal : 0;
	for (size_t i = 0; i < task->n_threads; i++) {
		add_status(&notes, look, task, &task->threads[i]);
		if (!i) {
			add_name(&notes, look, task);
			add(&notes, "CORE", NT_SIGINFO, &si, sizeof(si));
			add(&notes, "CORE", NT_AUXV, task->mm->auxv.data, task->mm->auxv.len);
			add_files(&notes, look, task);
		}
		add_vectors(&notes, &task->threads[i]);
	}
	*notesp = notes.data;
	*lenp = notes.n;
}
