/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that this one starts get the library, too, also those that are given an environment of
 * its own making: LD_PRELOAD and our variables are added where they are missing. What the program
 * says itself stays: other values, and CKPT_SIGNAL=0, which means that it does not want us there.
 * The engine gets what was there at the start, whatever the program has done to it since.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include "libinproc/wrap.h"

#define TEXT_MAX 24576   /* of the variables that are kept */
#define ENTRIES_MAX 4000 /* of an environment: the new one is on the stack */
#define PRELOAD_MAX 4096
#define PRELOAD "LD_PRELOAD="
#define PRELOAD_LEN (sizeof(PRELOAD) - 1)

/* Strings of our own: those of the start may be overwritten, by setproctitle() for one. The first
 * is LD_PRELOAD with nothing but us. */
__attribute__((section(".bss.first"))) static char text[TEXT_MAX];
CKPT_EARLY static const char *kept[CKPT_KEPT_MAX];
CKPT_EARLY static size_t n_kept;
/* Our name as the dynamic linker was given it. */
CKPT_EARLY static const char *library;

/* Of the engine: ours, and these. NULL at the end. */
CKPT_EARLY static char *engine_env[CKPT_KEPT_MAX + 5];
CKPT_EARLY static size_t n_engine;
static const char *const engine_names[] = { "PATH=", "HOME=", "TMPDIR=", "LD_LIBRARY_PATH=" };

static char *store(size_t *usedp, const char *first, const char *second)
{
	size_t a = strlen(first), b = strlen(second) + 1;
	char *at = text + *usedp;

	if (a + b > sizeof(text) - *usedp)
		return NULL;
	memcpy(at, first, a);
	memcpy(at + a, second, b);
	*usedp += a + b;
	return at;
}

static bool is_ours(const char *entry)
{
	return !strncmp(entry, "CKPT_", 5) && strchr(entry, '=');
}

static bool is_for_engine(const char *entry)
{
	for (size_t i = 0; i < sizeof(engine_names) / sizeof(engine_names[0]); i++) {
		if (!strncmp(entry, engine_names[i], strlen(engine_names[i])))
			return true;
	}
	return is_ours(entry);
}

static void keep(size_t *usedp, const char *entry)
{
	char *copy;

	if (n_kept == CKPT_KEPT_MAX || n_engine + 1 == sizeof(engine_env) / sizeof(engine_env[0]) ||
	    !is_for_engine(entry))
		return;
	copy = store(usedp, entry, "");
	if (!copy)
		return;
	engine_env[n_engine++] = copy;
	if (is_ours(copy))
		kept[n_kept++] = copy;
	if (!strncmp(copy, "CKPT_ENGINE=", 12))
		ckpt_config.engine = copy + 12;
}

void ckpt_env_init(char *const env[])
{
	size_t used = 0;
	Dl_info info;

	/* Another folder than this one knows no relative name. */
	if (dladdr(text, &info) && info.dli_fname[0] == '/')
		kept[0] = store(&used, PRELOAD, info.dli_fname);
	if (kept[0])
		library = kept[0] + PRELOAD_LEN;
	n_kept = 1;
	for (; *env; env++)
		keep(&used, *env);
	ckpt_config.engine_env = engine_env;
}

/* Is the library in that list? Entries end with a blank or a colon. */
static bool lists_us(const char *list)
{
	size_t len = strlen(library), n;

	for (; *list; list += n + !!list[n]) {
		n = strcspn(list, ": ");
		if (n == len && !memcmp(list, library, len))
			return true;
	}
	return false;
}

/* Length of the name and the '='; 0: there is none. */
static size_t name_len(const char *entry)
{
	const char *end = strchr(entry, '=');

	return end ? (size_t)(end + 1 - entry) : 0;
}

static const char *signal_of(char *const envp[])
{
	for (; envp && *envp; envp++) {
		if (!strncmp(*envp, "CKPT_SIGNAL=", 12))
			return *envp + 12;
	}
	return NULL;
}

static void look_at(struct ckpt_env_plan *plan, size_t i, bool *listedp)
{
	const char *entry = plan->envp[i];
	size_t len;

	if (!strncmp(entry, PRELOAD, PRELOAD_LEN)) {
		if (plan->preload || *listedp)
			return; /* the first one counts */
		plan->missing &= ~1u;
		*listedp = lists_us(entry + PRELOAD_LEN);
		if (!*listedp) {
			plan->preload = entry + PRELOAD_LEN;
			plan->preload_at = i;
		}
		return;
	}
	if (strncmp(entry, "CKPT_", 5))
		return;
	len = name_len(entry);
	for (size_t k = 1; len && k < n_kept; k++) {
		if (!strncmp(entry, kept[k], len))
			plan->missing &= ~(1u << k);
	}
}

void ckpt_env_plan(struct ckpt_env_plan *plan, char *const envp[])
{
	bool listed = false;
	const char *sig;

	*plan = (struct ckpt_env_plan){ .envp = envp, .missing = (1u << n_kept) - 1 };
	if (!ckpt_config.on || !library)
		return;
	if (envp && (uintptr_t)envp < 4096) /* the kernel says what it thinks of it */
		return;
	sig = signal_of(envp);
	plan->carries = !sig || atoi(sig) == ckpt_config.signal;
	for (; envp && envp[plan->n]; plan->n++)
		look_at(plan, plan->n, &listed);
	if (sig && atoi(sig) <= 0)
		return;
	if (plan->preload)
		plan->text = PRELOAD_LEN + strlen(library) + 1 + strlen(plan->preload) + 1;
	if (!plan->missing && !plan->preload)
		return;
	if (plan->n > ENTRIES_MAX || plan->text > PRELOAD_MAX) {
		plan->carries = listed && sig;
		return;
	}
	plan->slots = plan->n + n_kept + 1;
}

void ckpt_env_fill(const struct ckpt_env_plan *plan, char **slots, char *joined)
{
	size_t n = plan->n;

	if (n)
		memcpy(slots, plan->envp, n * sizeof(*slots));
	for (size_t k = 0; k < n_kept; k++) {
		if (plan->missing & 1u << k)
			slots[n++] = (char *)kept[k];
	}
	slots[n] = NULL;
	if (!plan->preload)
		return;
	strcpy(stpcpy(joined, kept[0]), ":");
	strcat(joined, plan->preload);
	slots[plan->preload_at] = joined;
}
