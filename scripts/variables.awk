# Reads the Makefile; prints TARGET: for each target, and TARGET:VARIABLE for each variable that it uses.
#
# A target uses the variables in its recipe, in the definitions that the recipe names, and in the recipes of the targets
# that it requires. What the Makefile exports is used by all.

/\\$/ { joined = joined substr($0, 1, length($0) - 1); next }
{ line = joined $0; joined = "" }

line ~ /^\t/ { text[target] = text[target] line; next }
line ~ /^export [A-Z_]+/ { split(line, words, " "); exported[words[2]]; next }
line ~ /^[A-Z_]+ *[:?]?=/ { name = line; sub(/ *[:?]?=.*/, "", name); sub(/^[^=]*=/, "", line); text[name] = line; next }
line ~ /^[a-z-]+:/ {
    target = line
    sub(/:.*/, "", target)
    sub(/^[^:]*:/, "", line)
    sub(/##.*/, "", line)
    required[target] = line
}

END {
    for (target in required) {
        print target ":"
        for (name in exported) print target ":" name
        split("", seen)
        print_uses(target)
    }
}

function print_uses(name,    words, count, i) {
    if (name in seen) return
    seen[name]
    count = split(required[name], words, " ")
    for (i = 1; i <= count; i++) print_uses(words[i])
    count = split(text[name], words, /[^A-Z_]+/)
    for (i = 1; i <= count; i++) {
        if (words[i] in text) print_uses(words[i])
        else if (words[i] ~ /^[A-Z][A-Z_]+$/ && !(words[i] in seen)) {
            seen[words[i]]
            print target ":" words[i]
        }
    }
}
