from base as Lower
run echo lower > /l
Copy a.txt /
eNv A=b
