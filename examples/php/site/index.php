<?php
header('Content-Type: text/plain');
printf("Hello from %s\nPHP %s\n", gethostname(), PHP_VERSION);
