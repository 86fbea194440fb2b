#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A web server in Java: a pool of threads, a heap that is checked, and clients that come while it works.
. "$(dirname "$0")/lib.bash"
need java
need javac
port=$(free_port)
cat >"$T/Server.java" <<'JAVA'
import com.sun.net.httpserver.*;
import java.net.InetSocketAddress;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicLong;

public class Server {
	static final AtomicLong count = new AtomicLong();
	static final ConcurrentHashMap<Integer, String> heap = new ConcurrentHashMap<>();

	static String answer(String path) {
		if (path.equals("/next"))
			return "is " + count.incrementAndGet();
		for (Map.Entry<Integer, String> e : heap.entrySet())
			if (!e.getValue().equals("value " + e.getKey()))
				return "is bad: " + e;
		heap.computeIfAbsent(heap.size(), n -> "value " + n);
		return "is well";
	}

	public static void main(String[] args) throws Exception {
		HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 50);
		for (int i = 0; i < 20000; i++)
			heap.put(i, "value " + i);
		server.createContext("/", x -> {
			byte[] text = (answer(x.getRequestURI().getPath()) + "\n").getBytes();
			x.sendResponseHeaders(200, text.length);
			x.getResponseBody().write(text);
			x.close();
		});
		server.setExecutor(Executors.newFixedThreadPool(8));
		server.start();
	}
}
JAVA
javac -d "$T" "$T/Server.java" >"$T/out" 2>&1 || bad "javac fails"
is() { fetch "$port" "/$1" | grep -aqx "is $2"; }
# many: sixteen clients at a time; their answers are the next numbers, each of them once.
asked=0
many() {
	local i clients=() before=$asked
	rm -f answer.*
	for i in {1..16}; do
		fetch "$port" /next >answer.$i &
		clients+=($!)
	done
	wait "${clients[@]}"
	asked=$((asked + 16))
	[ "$(sed -n 's/^is //p' answer.* | sort -n)" = "$(seq $((before + 1)) $asked)" ] || bad "$1: $(grep -h '^is' answer.*)"
}
start java -Xmx64m -cp "$T" Server "$port"
until_true is heap well || bad "java does not start"
many "at the start"
for round in 1 2 3; do
	if [ $round = 2 ]; then take_same --tcp-close; else take --tcp-close; fi
	is heap well || bad "the heap is not what it was after restore $round"
	many "after restore $round"
done
dump -R --tcp-close || bad "dump -R fails"
many "after a dump that leaves it"
is heap well || bad "the heap is not what it was after a dump that leaves it"
good "a web server in Java goes on after three restores"
