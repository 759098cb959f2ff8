module ferrolb.test/pod

go 1.26
