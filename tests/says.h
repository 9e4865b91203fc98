// What a text must hold, with both told where it does not.
#pragma once

#include <gtest/gtest.h>

#define EXPECT_SAYS(text, part) \
  EXPECT_NE((text).find(part), std::string::npos) << "'" << (part) << "' is not in: " << (text)
