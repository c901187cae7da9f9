# The variables that can be given to make, as `make train CONFIG=mine` or in the environment. Their values are used as they
# were typed: neither make nor a shell interprets anything in them. One that is given to make has to be used by a target
# that is asked for; one in the environment may be meant for another program. The Makefile includes this file.

VALUES := ANNOTATIONS ARCHIVE BAD_BOXES CHECKPOINT CLASSES CONFIG CORRECTED CPU DRAW EMPTY_IMAGES EXIF FOLD \
    FORMAT FROM GRAPH IMAGES MASTER MAX_SIDE MINUTES NAME OUTPUT OUT_OF_IMAGE PRODUCT_ASPECT_RATIO \
    PRODUCT_SCALE PYTHON PYTHON_HERE RUN_DIR RUNTIME SEED SHELF_DATA SHELF_DATA_ORIGINAL SPARK SPLIT START \
    STEPS TESTS TEST_SHARE THRESHOLD TILES VAL_SHARE WORKERS
# Options without a value. What turns them on and off, in capitals or not; an empty value is off, too.
FLAGS := ALLOW_MISSING OVERWRITE PAD SKIP_BAD UNFOLDED
ON := 1 yes true on
OFF := 0 no false off

COMMA := ,
# $(call quoted,TEXT): TEXT as one word of a shell command. The shell interprets nothing between single quotes.
quoted = '$(subst ','\'',$(1))'
# $(call option,--name,TEXT): the option with its value, if there is one. With =, because a value may begin with -.
option = $(if $(2),$(1)=$(call quoted,$(2)))

# $(call environment,NAME): for the front of a command that reads the variable NAME from its environment
environment = $(if $($(1)),$(1)=$(call quoted,$($(1))))

# --- names ---

# Windows' subsystem for Linux sets NAME for every program, to the name of the computer.
ifneq ($(firstword $(origin NAME)),command)
  override undefine NAME
endif

GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
# $(call similar,NAME,NAMES): which of NAMES is the most similar, if any is; in capitals or not. One of the same letters
# comes first.
similar = $(shell $(or $(wildcard .venv/bin/python),python3) -c \
    'import difflib, sys; name, *names = sys.argv[1:]; close = difflib.get_close_matches; \
    same = [other for other in names if sorted(other) == sorted(name.upper())]; \
    print(*(same[:1] or close(name, names, 1) or close(name.upper(), names, 1)))' \
    $(call quoted,$(1)) $(2) 2>/dev/null)
advice = $(if $(1),did you mean $(1)=? )`make` lists the targets with their variables, docs/data.md has all of make data
$(foreach name,$(filter-out $(VALUES) $(FLAGS),$(GIVEN)),\
    $(error $(name)= is not a variable of this Makefile; $(call advice,$(call similar,$(name),$(VALUES) $(FLAGS)))))

# TARGET:VARIABLE, which target uses which variable, and TARGET: for each target; as the Makefile's recipes say
USES := $(shell awk -f scripts/variables.awk Makefile)
GOALS := $(or $(MAKECMDGOALS),$(.DEFAULT_GOAL))
# A step ends with the next command, unless that is one of these (scripts/shelfdet/core/next_step.py).
export MAKE_GOALS := $(GOALS)
USED := $(foreach goal,$(GOALS),$(patsubst $(goal):%,%,$(filter $(goal):%,$(USES))))
# $(call users,NAME): the targets that use a variable
users = $(sort $(patsubst %:$(1),%,$(filter %:$(1),$(USES))))
unused = $(error $(1)= has no effect on `make $(GOALS)`; expected with: $(call users,$(1)). Leave it out)
TARGETS := $(patsubst %:,%,$(filter %:,$(USES)))
meant = $(if $(1),did you mean $(1)? )`make` lists the targets
$(foreach goal,$(filter-out $(TARGETS),$(GOALS)),\
    $(error No rule to make target '$(goal)'; $(call meant,$(call similar,$(goal),$(TARGETS)))))
ifeq ($(filter-out $(USES),$(GOALS:%=%:)),)
  $(foreach name,$(filter-out $(USED),$(GIVEN)),$(call unused,$(name)))
endif

# --- values ---

define LINE_BREAK


endef

is_used = $(filter $(1),$(USED))
# A variable defined by `make NAME=...` expands the $ in its value at each use and each export to a command.
# $(value NAME) is the value before that, and := keeps it.
define keep_value
  $(if $(is_used),$(check_value))
  override $(1) := $$(value $(1))
endef
define check_value
  $(if $(findstring $(LINE_BREAK),$(value $(1))),$(error $(1)= has a line break in its value; expected one line))
  $(if $(value $(1)),,$(if $(filter $(1),$(GIVEN)),$(error $(1)= has no value; give it one, or leave out $(1)=)))
endef

lower = $(shell printf %s $(call quoted,$(1)) | tr '[:upper:]' '[:lower:]')
# $(call on,NAME,TEXT): 1 or nothing. In brackets, so that "yes no" is not taken for two words that each are known.
on = $(if $(filter $(ON:%=[%]),[$(2)]),1,$(if $(filter $(OFF:%=[%]) [],[$(2)]),,$(call refuse_flag,$(1))))
refuse_flag = $(error $(1)=$(value $(1)) is neither on ($(ON)) nor off ($(OFF), or nothing); expected one of these)
define keep_flag
  override $(1) := $(if $(is_used),$(call on,$(1),$(call lower,$(value $(1)))),$$(value $(1)))
endef

is_defined = $(filter-out undefined,$(origin $(1)))
$(foreach name,$(VALUES),$(if $(call is_defined,$(name)),$(eval $(call keep_value,$(name)))))
$(foreach name,$(FLAGS),$(if $(call is_defined,$(name)),$(eval $(call keep_flag,$(name)))))
