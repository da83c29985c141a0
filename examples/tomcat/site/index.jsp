<%@ page contentType="text/plain" session="false" trimDirectiveWhitespaces="true"
  import="java.nio.file.Files, java.nio.file.Path" %>
<%-- From the kernel: asking the resolver for one's own name needs a line in /etc/hosts. --%>
Hello from <%= Files.readString(Path.of("/proc/sys/kernel/hostname")) %>
<%= application.getServerInfo() %>, Java <%= System.getProperty("java.version") %>
