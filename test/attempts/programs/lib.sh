# attempt KEY COMMAND...: runs the command and says its exit code and the first line of what it wrote.
attempt() {
	local key=$1 text status
	shift
	text=$("$@" 2>&1 </dev/null)
	status=$?
	text=${text%%$'\n'*}
	text=${text//\\/}
	text=${text//\"/}
	text=${text//[^[:print:]]/?}
	if [ "$status" = 0 ]; then text="done${text:+: $text}"; else text="failed: $text"; fi
	printf '{"key":"%s","seen":"%s"}\n' "$key" "${text:0:300}"
}
