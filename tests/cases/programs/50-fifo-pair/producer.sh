for i in {1..18}; do
    echo "row $i"
    sleep 0.55
done
exit 60
