// SPDX-License-Identifier: Apache-2.0
// A target with C++ frames: templates, lambdas, virtual and inlined functions.
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <unistd.h>
#include <vector>

#define KEEP __attribute__((noinline, noclone))

namespace shop {
struct base {
	virtual ~base() = default;
	virtual int run(const std::string &name, std::vector<int> &v) = 0;
};

template <typename Key, int N> struct counter : base {
	std::map<Key, int> seen;

	KEEP int run(const std::string &name, std::vector<int> &v) override
	{
		return twice(name, [&](int n) { return wait(n + v.size()); });
	}
	template <typename F> KEEP int twice(const std::string &, F &&f)
	{
		return f(N) + f(N + 1);
	}
	static inline int inlined(int n)
	{
		for (;;)
			pause();
		return n;
	}
	KEEP int wait(int n)
	{
		if (FILE *ready = fopen("ready", "w"))
			fclose(ready);
		return inlined(n) + seen.size();
	}
};
}

int main()
{
	shop::counter<std::string, 7> c;
	std::vector<int> v{ 1, 2, 3 };
	std::function<int(int)> f = [&](int n) { return c.run("x", v) + n; };

	return f(1) + f(2);
}
