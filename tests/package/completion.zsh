# Prints what zsh, in a terminal of its own, completes some beginnings of commands to: completion.zsh FOLDER [sourced].
# FOLDER holds _casdm, which is found in $fpath, or sourced.
zmodload zsh/zpty
zpty shell "TERM=dumb zsh -f -i"

# typed TEXT PATTERN: types the text, and prints what the terminal shows until the pattern fits.
typed() {
  local shown
  zpty -w shell "$1"
  zpty -r -m shell shown "*$2*" && print -r -- "$shown"
}

begin="fpath=('$1' \$fpath); autoload -Uz compinit; compinit -u -D"
if [[ $2 == sourced ]]; then begin="autoload -Uz compinit; compinit -u -D; source '$1/_casdm'"; fi
typed "$begin; casdm() { print \"got \$* end\" }; print ready=\$?" "ready=0"
for line in "casdm eval" "casdm config sch" "casdm train x --set run.precision=bf" "casdm plugins inspect metric_ss"; do
  typed "$line"$'\t' "got * end"
done
zpty -d shell
