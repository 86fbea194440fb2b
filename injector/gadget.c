/* SPDX-License-Identifier: Apache-2.0 */
/* Code of the target itself that runs a system call and comes back, and that returns from a signal.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "injector/gadget.h"
#include "injector/ptrace.h"

#define CHUNK (32u << 10) /* more would take longer to touch than the calls that it spares */
#define LONGEST 32        /* bytes of a gadget; chunks overlap by that */
#define POPS_MAX 256
#define ENOUGH (16u << 20)
#define SYSCALL_1 0x0f
#define SYSCALL_2 0x05

static const uint8_t restorer_long[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 }; /* mov
											   $15,%rax
											 */
static const uint8_t restorer_short[] = { 0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05 }; /* mov $15,%eax */
static const uint8_t pop_rax_ret[] = { 0x58, 0xc3 };

enum {
	CALL,
	RESTORER,
	POP_RAX,
	POP_RDI,
	POP_RSI,
	POP_RDX,
	STORE_RDI,
	STORE_RSI,
	STORE_RDX,
	N_SORTS
};

/* All but CALL, which is more than one sequence of bytes. RESTORER has a second one. */
static const struct {
	uint8_t code[9], len;
} sorts[N_SORTS] = {
	[RESTORER] = { { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 }, 9 },
	[POP_RAX] = { { 0x58, 0xc3 }, 2 },
	[POP_RDI] = { { 0x5f, 0xc3 }, 2 },
	[POP_RSI] = { { 0x5e, 0xc3 }, 2 },
	[POP_RDX] = { { 0x5a, 0xc3 }, 2 },
	[STORE_RDI] = { { 0x48, 0x89, 0x07, 0xc3 }, 4 },
	[STORE_RSI] = { { 0x48, 0x89, 0x06, 0xc3 }, 4 },
	[STORE_RDX] = { { 0x48, 0x89, 0x02, 0xc3 }, 4 },
};

/* What one mapped piece of code has, as offsets in it plus one; 0: it has none. */
struct known {
	uint64_t offset, ino, len;
	uint32_t major, minor, pops;
	uint64_t at[N_SORTS];
	struct known *next;
};

struct ckpt_gadget_cache {
	struct known *first;
	uint8_t chunk[CHUNK];
};

struct ckpt_gadget_cache *ckpt_gadget_cache_open(struct ckpt_arena *arena)
{
	return ckpt_new(arena, struct ckpt_gadget_cache);
}

/* Bytes that the instruction at CODE takes off the stack, doing nothing else that matters; -1:
 * another one. */
static int popped_by(const uint8_t *code, size_t n, size_t *lenp)
{
	/* Not %rsp, of course, nor %rax: the result. */
	*lenp = 1;
	if (n >= 1 && code[0] > 0x58 && code[0] <= 0x5f && code[0] != 0x5c)
		return 8;
	*lenp = 2;
	if (n >= 2 && code[0] == 0x41 && code[1] >= 0x58 && code[1] <= 0x5f)
		return 8;
	*lenp = 4;
	if (n >= 4 && code[0] == 0x48 && code[1] == 0x83 && code[2] == 0xc4 && code[3] < 0x80 &&
	    !(code[3] & 7))
		return code[3]; /* add $imm8,%rsp */
	return -1;
}

int ckpt_gadget_call_at(const uint8_t *code, size_t n)
{
	int popped = 0;
	size_t len;

	if (n < 3 || code[0] != 0x0f || code[1] != 0x05)
		return -1;
	for (size_t i = 2; i < n && i < LONGEST && popped <= POPS_MAX; i += len) {
		int bytes;

		if (code[i] == 0xc3)
			return popped;
		bytes = popped_by(code + i, n - i, &len);
		if (bytes < 0)
			return -1;
		popped += bytes;
	}
	return -1;
}

bool ckpt_gadget_restorer_at(const uint8_t *code, size_t n)
{
	return (n >= sizeof(restorer_long) &&
		!memcmp(code, restorer_long, sizeof(restorer_long))) ||
	       (n >= sizeof(restorer_short) &&
		!memcmp(code, restorer_short, sizeof(restorer_short)));
}

static bool has_store(const uint64_t at[N_SORTS])
{
	return at[STORE_RDI] || at[STORE_RSI] || at[STORE_RDX];
}

static bool has_returns(const uint64_t at[N_SORTS])
{
	return at[POP_RAX] && at[POP_RDI] && at[POP_RSI] && at[POP_RDX] && has_store(at);
}

static bool has_all(const uint64_t at[N_SORTS])
{
	return at[CALL] && at[RESTORER] && has_returns(at);
}

/* Does CODE end with that? N: bytes of it. */
static bool ends_with(const uint8_t *code, size_t n, const uint8_t *pattern, size_t len)
{
	return n >= len && !memcmp(code + n - len, pattern, len);
}

/* Where CODE has the bytes of SORT: one of them, which is rare enough, is looked for first. */
static const uint8_t *find_sort(int sort, const uint8_t *code, size_t n)
{
	const uint8_t *bytes = sorts[sort].code;
	size_t len = sorts[sort].len, rare = len == 2 ? 0 : len - 1;

	while (n >= len) {
		const uint8_t *p = memchr(code + rare, bytes[rare], n - len + 1);

		if (!p)
			return NULL;
		p -= rare;
		if (p[1] == bytes[1] && !memcmp(p, bytes, len))
			return p;
		n -= p + 1 - code;
		code = p + 1;
	}
	return NULL;
}

/* What ends with `ret`. */
static void look_for_returns(struct known *k, const uint8_t *code, size_t n, uint64_t at)
{
	for (int i = POP_RAX; i < N_SORTS && !(i >= STORE_RDI && has_store(k->at)); i++) {
		const uint8_t *p = k->at[i] ? NULL : find_sort(i, code, n);

		if (p)
			k->at[i] = at + (p - code) + 1;
	}
}

/* What has a `syscall` in it. */
static void look_for_calls(struct known *k, const uint8_t *code, size_t n, uint64_t at)
{
	const uint8_t *p = code;

	while (!(k->at[CALL] && k->at[RESTORER]) &&
	       (p = memchr(p, SYSCALL_2, code + n - p)) != NULL) {
		size_t end = ++p - code;
		int pops;

		if (end < 2 || code[end - 2] != SYSCALL_1)
			continue;
		pops = k->at[CALL] ? -1 : ckpt_gadget_call_at(code + end - 2, n - end + 2);
		if (pops >= 0) {
			k->at[CALL] = at + end - 1;
			k->pops = pops;
		}
		if (!k->at[RESTORER] && ends_with(code, end, restorer_long, sizeof(restorer_long)))
			k->at[RESTORER] = at + end - sizeof(restorer_long) + 1;
		if (!k->at[RESTORER] &&
		    ends_with(code, end, restorer_short, sizeof(restorer_short)))
			k->at[RESTORER] = at + end - sizeof(restorer_short) + 1;
	}
}

static void search(struct ckpt_gadget_cache *cache, pid_t pid, const struct ckpt_vm_area *a,
		   struct known *k)
{
	for (uint64_t at = 0; at < k->len && !has_all(k->at); at += CHUNK - LONGEST) {
		size_t n = k->len - at < CHUNK ? k->len - at : CHUNK;

		/* What is only good to have is not looked for in all of a large program. */
		if (at > ENOUGH && k->at[CALL] && k->at[RESTORER])
			return;
		if (ckpt_vm_get(pid, a->start + at, cache->chunk, n) < 0)
			return; /* behind the end of the file */
		look_for_calls(k, cache->chunk, n, at);
		look_for_returns(k, cache->chunk, n, at);
	}
}

static struct known *known_of(struct ckpt_gadget_cache *cache, struct ckpt_arena *arena, pid_t pid,
			      const struct ckpt_vm_area *a)
{
	uint64_t len = a->end - a->start;
	struct known *k;

	for (k = cache->first; k; k = k->next) {
		if (k->ino == a->ino && k->offset == a->offset && k->len == len &&
		    k->major == a->major && k->minor == a->minor)
			return k;
	}
	k = ckpt_new(arena, struct known);
	*k = (struct known){ .offset = a->offset,
			     .ino = a->ino,
			     .len = len,
			     .major = a->major,
			     .minor = a->minor,
			     .next = cache->first };
	cache->first = k;
	search(cache, pid, a, k);
	return k;
}

static bool has_code(const struct ckpt_vm_area *a)
{
	const int want = PROT_READ | PROT_EXEC;

	/* Code that a program writes itself may change under a thread that others outlive. */
	return (a->prot & (want | PROT_WRITE)) == want && !a->shared &&
	       (a->what == CKPT_AREA_VDSO || a->what == CKPT_AREA_FILE);
}

static void take(uint64_t at[N_SORTS], uint32_t *popsp, const struct ckpt_vm_area *a,
		 const struct known *k)
{
	if (!at[CALL])
		*popsp = k->pops;
	for (int i = 0; i < N_SORTS; i++) {
		if (!at[i] && k->at[i])
			at[i] = a->start + k->at[i] - 1;
	}
}

static void fill(struct ckpt_gadgets *g, const uint64_t at[N_SORTS], uint32_t pops)
{
	g->call = at[CALL];
	g->pops = pops;
	g->restorer = at[RESTORER];
	g->pop_rax = at[POP_RAX];
	g->pop_rdi = at[POP_RDI];
	g->pop_rsi = at[POP_RSI];
	g->pop_rdx = at[POP_RDX];
	for (int i = 0; i < 3 && !g->store; i++) {
		g->store = at[STORE_RDI + i];
		g->store_in = i;
	}
}

int ckpt_gadgets_find(struct ckpt_gadget_cache *cache, struct ckpt_arena *arena, pid_t pid,
		      const struct ckpt_vm_areas *areas, struct ckpt_gadgets *g,
		      struct ckpt_err *err)
{
	uint64_t at[N_SORTS] = { 0 };
	uint32_t pops = 0;

	memset(g, 0, sizeof(*g));
	/* From the top: there are the vDSO and the C library, which have everything, and at the
	 * bottom is the program. */
	for (size_t i = areas->n; i-- > 0 && !has_all(at);) {
		const struct ckpt_vm_area *a = &areas->v[i];

		if (has_code(a))
			take(at, &pops, a, known_of(cache, arena, pid, a));
	}
	fill(g, at, pops);
	if (g->call && (g->restorer || g->pop_rax))
		return 0;
	return ckpt_refuse(err, CKPT_E_NO_GADGET, -ENOEXEC,
			   "process %d: cannot find code of it that %s", pid,
			   g->call ? "returns from a signal" : "runs a system call");
}

/* Whoever patches code leaves it to be found in some place and not in another: all that will be
 * used is looked at. */
static void check_chain(pid_t pid, struct ckpt_gadgets *g)
{
	const uint64_t at[] = { g->pop_rax, g->pop_rdi, g->pop_rsi, g->pop_rdx, g->store };
	const int sort[] = { POP_RAX, POP_RDI, POP_RSI, POP_RDX, STORE_RDI + (int)g->store_in };
	uint8_t code[5][4];
	struct iovec local[5], remote[5];

	for (int i = 0; i < 5; i++) {
		local[i] = (struct iovec){ code[i], sorts[sort[i]].len };
		remote[i] = (struct iovec){ (void *)at[i], sorts[sort[i]].len };
	}
	if (g->store && !ckpt_vm_read(pid, local, remote, 5)) {
		int i = 0;

		while (i < 5 && !memcmp(code[i], sorts[sort[i]].code, sorts[sort[i]].len))
			i++;
		if (i == 5)
			return;
	}
	g->store = 0;
}

bool ckpt_gadgets_hold(pid_t pid, struct ckpt_gadgets *g)
{
	uint8_t call[LONGEST] = { 0 }, back[sizeof(restorer_long)] = { 0 };

	check_chain(pid, g);
	/* Either may lie at the very end of its area. */
	for (size_t n = LONGEST; n >= 3 && ckpt_vm_get(pid, g->call, call, n) < 0; n--)
		;
	if (ckpt_gadget_call_at(call, sizeof(call)) != (int)g->pops)
		return false;
	if (!g->restorer)
		return !ckpt_vm_get(pid, g->pop_rax, back, 2) && !memcmp(back, pop_rax_ret, 2);
	if (ckpt_vm_get(pid, g->restorer, back, sizeof(restorer_long)) < 0 &&
	    ckpt_vm_get(pid, g->restorer, back, sizeof(restorer_short)) < 0)
		return false;
	return ckpt_gadget_restorer_at(back, sizeof(back));
}
