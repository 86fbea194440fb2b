# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For java.sh and inside-server.sh: a web server in Java with a pool of threads and a heap that is checked.
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
