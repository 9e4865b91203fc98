# Writes HEADER with the commit of SOURCE, and leaves it as it is where it says so already. Without
# git, or in an archive of the sources: "unknown".
set(commit "")
find_program(GIT git)
if(GIT AND EXISTS ${SOURCE}/.git)  # not the commit of a repository that an archive was unpacked in
  execute_process(COMMAND ${GIT} describe --always --dirty --abbrev=12
                  WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit ERROR_QUIET
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
if(NOT commit)
  set(commit "unknown")
endif()
set(text "#define TAPESCOPE_COMMIT \"${commit}\"\n")
set(old "")
if(EXISTS ${HEADER})
  file(READ ${HEADER} old)
endif()
if(NOT text STREQUAL old)
  file(WRITE ${HEADER} "${text}")
endif()
