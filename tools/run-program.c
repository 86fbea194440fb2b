/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can a library be preloaded into this program? What the dynamic linker does not load, or loads in
 * secure mode, would run without it and say nothing; so it is said here, before the start.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "tools/run.h"

#define MAX_SCRIPTS 4 /* a script whose interpreter is a script, ... */
#define HEAD 256      /* of a script: as much as the kernel reads */

static int refuse(const char *path, const char *why, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_NOT_PRELOADABLE, -ENOEXEC, "%s: %s", path, why);
}

/* ---- where it is ---- */

static int usable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

/* The first in PATH that can be executed; else why the first that is there cannot. */
static int search(const char *name, struct ckpt_arena *arena, const char **pathp)
{
	const char *dirs = getenv("PATH"), *end;
	int best = -ENOENT;

	for (dirs = dirs ? dirs : "/bin:/usr/bin";; dirs = end + 1) {
		char path[PATH_MAX];
		int r, n;

		end = strchrnul(dirs, ':');
		n = snprintf(path, sizeof(path), "%.*s%s%s", (int)(end - dirs), dirs,
			     end > dirs ? "/" : "", name);
		r = n < (int)sizeof(path) ? usable(path) : -ENAMETOOLONG;
		if (!r) {
			*pathp = ckpt_strdup(arena, path);
			return 0;
		}
		/* Not of a folder that may not be searched. */
		if (r == -EACCES && faccessat(AT_FDCWD, path, F_OK, AT_EACCESS) == 0)
			best = r;
		if (!*end)
			return best;
	}
}

static int locate(const char *name, struct ckpt_arena *arena, const char **pathp)
{
	if (!strchr(name, '/'))
		return search(name, arena, pathp);
	*pathp = name;
	return usable(name);
}

/* ---- what it is ---- */

static bool privileges_count(int fd)
{
	struct statvfs fs;

	return fstatvfs(fd, &fs) < 0 || !(fs.f_flag & ST_NOSUID);
}

static int look_at_rights(int fd, const char *path, struct ckpt_err *err)
{
	struct stat st;
	char caps[64];

	if (fstat(fd, &st) < 0 || !privileges_count(fd))
		return 0;
	if (st.st_mode & S_ISUID && st.st_uid != geteuid())
		return refuse(path, "it is a setuid program", err);
	if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getegid())
		return refuse(path, "it is a setgid program", err);
	if (geteuid() && fgetxattr(fd, "security.capability", caps, sizeof(caps)) > 0)
		return refuse(path, "it gets capabilities from its file", err);
	return 0;
}

/* The name of its dynamic linker; "" if there is none. */
static void linker_of(Elf *elf, char *buf, size_t size)
{
	size_t n = 0, len;
	char *image = elf_rawfile(elf, &len);

	buf[0] = 0;
	elf_getphdrnum(elf, &n);
	for (size_t i = 0; image && i < n; i++) {
		GElf_Phdr ph;

		if (!gelf_getphdr(elf, i, &ph) || ph.p_type != PT_INTERP || ph.p_offset > len ||
		    ph.p_filesz > len - ph.p_offset)
			continue;
		snprintf(buf, size, "%.*s", ph.p_filesz < size ? (int)ph.p_filesz : (int)size - 1,
			 image + ph.p_offset);
	}
}

static int look_at_elf(int fd, const char *path, struct ckpt_err *err)
{
	Elf *elf = elf_version(EV_CURRENT) == EV_NONE ? NULL : elf_begin(fd, ELF_C_READ, NULL);
	char linker[PATH_MAX];
	GElf_Ehdr eh;
	bool ours = elf && gelf_getehdr(elf, &eh) && eh.e_ident[EI_CLASS] == ELFCLASS64 &&
		    eh.e_machine == EM_X86_64;

	linker[0] = 0;
	if (ours)
		linker_of(elf, linker, sizeof(linker));
	elf_end(elf);
	if (!ours)
		return refuse(path, "it is no 64-bit program for x86-64", err);
	if (!linker[0])
		return refuse(path, "it is linked statically", err);
	if (strstr(linker, "/ld-musl-"))
		return refuse(path, "its C library is musl", err);
	return look_at_rights(fd, path, err);
}

/* The first two words behind "#!". */
static void words_of(char *line, char *word[2])
{
	char *rest;

	line[strcspn(line, "\n")] = 0;
	word[0] = strtok_r(line + 2, " \t", &rest);
	word[1] = word[0] ? strtok_r(NULL, " \t", &rest) : NULL;
}

/* What is run in the end: "#!/usr/bin/env NAME" is NAME out of PATH. What cannot be looked at, or
 * fails when it is run, does so there. */
static int look(const char *path, unsigned int depth, struct ckpt_arena *arena,
		struct ckpt_err *err)
{
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char head[HEAD + 1], *word[2];
	const char *next;
	ssize_t n = fd < 0 ? -1 : pread(fd, head, HEAD, 0);
	int r;

	if (n < 0 || depth > MAX_SCRIPTS)
		return 0;
	head[n] = 0;
	if (n >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG))
		return look_at_elf(fd, path, err);
	if (strncmp(head, "#!", 2)) /* execvp(3) gives it to a shell */
		return depth ? 0 : look("/bin/sh", depth + 1, arena, err);
	words_of(head, word);
	if (!word[0])
		return 0;
	next = word[0];
	r = look(next, depth + 1, arena, err);
	if (r >= 0 && word[1] && !strcmp(basename(next), "env") &&
	    locate(word[1], arena, &next) >= 0)
		r = look(next, depth + 1, arena, err);
	return ckpt_in(err, r, "script %s", path);
}

int ckpt_run_find(const char *argv0, struct ckpt_arena *arena, const char **pathp, int *statusp,
		  struct ckpt_err *err)
{
	int r = locate(argv0, arena, pathp);

	*statusp = r == -ENOENT || r == -ENOTDIR ? 127 : 126;
	if (r == -ENOENT && !strchr(argv0, '/'))
		return ckpt_refuse(err, CKPT_E_NONE, r, "%s: not found in PATH", argv0);
	if (r < 0)
		return ckpt_fail(err, r, "%s: cannot execute", argv0);
	*statusp = 3;
	return look(*pathp, 0, arena, err);
}

int ckpt_run_exec(const struct ckpt_run_options *o)
{
	int code;

	execv(o->path, o->argv);
	code = errno;
	if (code == ENOEXEC) {
		size_t n = 0;

		while (o->argv[n])
			n++;
		const char *shell[n + 2];

		shell[0] = "/bin/sh";
		shell[1] = o->path;
		memcpy(shell + 2, o->argv + 1, n * sizeof(*shell)); /* and the NULL */
		execv(shell[0], (char **)shell);
	}
	ckpt_run_say("%s: cannot execute: %s", o->path, strerrordesc_np(code));
	return code == ENOENT ? 127 : 126;
}
