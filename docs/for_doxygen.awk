# SPDX-License-Identifier: BSD-3-Clause
# What Doxygen reads of a header, line by line what stands there, but
# - without the version's inline namespace, which users do not write;
# - with what the header declares in a group of the header's name: tensor_views for heddle/tensor/views.hpp;
# - without declarations of classes that stand elsewhere, which would be in two groups;
# - with definitions of members outside of their class in no group, as the class is in one;
# - without conditions of explicit, which it does not read.
function is_forward() { return $0 ~ /^(class|struct) [a-z_]+;$/ }
function is_member_outside() {
  return open && !nested && $0 !~ /^static_assert/ &&
    ($0 ~ /^[a-z][^(]*[a-z_>]::[a-z_]+\(/ || $0 ~ /^requires.*[)] [a-z_]+::[a-z_]+\(/)
}
function begin_group() { return " /** \\addtogroup " group " */ /** @{ */" }

/^}  \/\/ namespace/ { nested = 0 }
/^namespace/ && open { nested = 1 }
held != "" {
  if (is_forward()) {
    print ""
    $0 = ""
  } else if (is_member_outside()) {
    print "/** @} */ " held
    outside = 1
  } else {
    print held
  }
  held = ""
}
/^template <.*>$/ {
  held = $0
  next
}
is_forward() { $0 = "" }
is_member_outside() && !outside {
  $0 = "/** @} */ " $0
  outside = 1
}
outside && /(^}|[;}])$/ && (/^}/ || /^[^ ].*}$/) {
  $0 = $0 begin_group()
  outside = 0
}
/^namespace heddle::inline v0/ {
  sub(/heddle::inline v0/, "heddle")
  if ($0 !~ /detail/) {
    group = FILENAME
    sub(/.*\/heddle\//, "", group)
    sub(/\.[a-z]+$/, "", group)
    gsub(/\//, "_", group)
    $0 = $0 begin_group()
    open = 1
  }
}
/^}  \/\/ namespace heddle/ && open {
  $0 = "/** @} */ " $0
  open = 0
}
{
  sub(/explicit\([^()]*\)/, "explicit")
  print
}
