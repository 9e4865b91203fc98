// Which split a file or a folder is of, by its name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tapescope {

// The words of a name, in lower case: runs of letters, cut again where a capital follows a small
// letter. "instances_trainSet2017" is instances, train, set.
std::vector<std::string> words_in(std::string_view name);

enum class Split : unsigned char { none, train, validation, test, trainval };

// By whole words: "val" is in val2017, ValSet and my-val, but not in carnival; "test" not in
// latest. Of several words the last one counts; train and val together are trainval, from which
// validation is yet to be set aside.
Split split_in(std::string_view name);

}  // namespace tapescope
